/** Reading any image that the browser can read: PNG here, other kinds by its own decoders. */
import { fitted, fittedPng } from "./colours.js";
import { isPng, readPng } from "./read_png.js";

const MOST_PIXELS = 64 * 1024 * 1024;

/**
 * The upright pixels of an image file.
 *
 * @param {Blob} file
 * @param {{channels: number, range: number[] | null}} bands - what the model takes
 * @returns {Promise<object>} an image as `resize` takes it
 * @throws {Error} it cannot be read, or does not fit the model
 */
export async function readImage(file, bands) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (isPng(bytes)) {
    return fittedPng(await readPng(bytes), bands);
  }
  return fitted(await decoded(file), bands.channels, bands.range);
}

/** The browser's own pixels, with no colours converted, transparency on white. */
async function decoded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error("this browser cannot read it; save it as JPEG or PNG");
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) {
    throw new Error(`it has ${width} x ${height} pixels, and ${MOST_PIXELS} are allowed`);
  }
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data: values } = context.getImageData(0, 0, width, height);
  const data = new Uint8Array(3 * width * height);
  for (let i = 0, at = 0; at < data.length; i += 4, at += 3) {
    data[at] = values[i];
    data[at + 1] = values[i + 1];
    data[at + 2] = values[i + 2];
  }
  return { width, height, channels: 3, data };
}

/**
 * A canvas of an image for people: grey where there are fewer than three channels, else the first three.
 *
 * @param {object} image
 * @returns {HTMLCanvasElement}
 */
export function forEyes({ width, height, channels, data }) {
  const shown = new ImageData(width, height);
  for (let i = 0, at = 0; at < shown.data.length; i += channels, at += 4) {
    shown.data[at] = data[i];
    shown.data[at + 1] = data[channels > 2 ? i + 1 : i];
    shown.data[at + 2] = data[channels > 2 ? i + 2 : i];
    shown.data[at + 3] = 255;
  }
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(shown, 0, 0);
  return canvas;
}
