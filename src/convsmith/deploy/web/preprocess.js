/** From pixels to what a classifier sees: the rules of convsmith/bundle/preprocess.py. */
import { resize } from "./resize.js";
import { roundHalfToEven } from "./rounding.js";

const MOST_PIXELS = 64 * 1024 * 1024;

/**
 * The square that the model sees, channel after channel.
 *
 * @param {object} image - as `resize` takes it
 * @param {{method: string, resize: number, crop: number, interpolation: string}} spec - `preprocess` of bundle.json
 * @returns {Uint8Array} [channels, crop, crop]
 * @throws {Error} the image is so long and thin that it would become too large
 */
export function preprocess(image, spec) {
  return channelsFirst(squareOf(image, spec));
}

function squareOf(image, spec) {
  const { width, height } = image;
  if (spec.method === "resize_then_crop") {
    const [newWidth, newHeight] = withShortSide(width, height, spec.resize);
    if (newWidth * newHeight > MOST_PIXELS) {
      throw new Error(`its ${width} x ${height} pixels are too long and thin; cut it into parts`);
    }
    const resized = resize(image, newWidth, newHeight, spec.interpolation);
    return crop(resized, offset(newWidth, spec.crop), offset(newHeight, spec.crop), spec.crop, spec.crop);
  }
  const seen = spec.method === "crop_then_resize" ? centralSquare(image, spec.crop / spec.resize) : image;
  return resize(seen, spec.crop, spec.crop, spec.interpolation);
}

/** The longer side is rounded down, as torchvision does. */
function withShortSide(width, height, short) {
  return width <= height
    ? [short, Math.trunc((short * height) / width)]
    : [Math.trunc((short * width) / height), short];
}

/** Where the crop starts; negative where the image is padded. */
function offset(length, side) {
  return length >= side ? roundHalfToEven((length - side) / 2) : -Math.floor((side - length) / 2);
}

function centralSquare(image, share) {
  const side = share * Math.min(image.width, image.height);
  const left = roundHalfToEven((image.width - side) / 2);
  const top = roundHalfToEven((image.height - side) / 2);
  const right = Math.max(left + 1, roundHalfToEven(left + side));
  const bottom = Math.max(top + 1, roundHalfToEven(top + side));
  return crop(image, left, top, right - left, bottom - top);
}

/** A part of an image; what lies beyond it is black. */
function crop({ width: from, height: fromHeight, channels, data }, left, top, width, height) {
  const found = new Uint8Array(width * height * channels);
  const first = Math.max(left, 0);
  const end = Math.min(left + width, from);
  for (let y = Math.max(top, 0); y < Math.min(top + height, fromHeight); y++) {
    const row = data.subarray((y * from + first) * channels, (y * from + end) * channels);
    found.set(row, ((y - top) * width + first - left) * channels);
  }
  return { width, height, channels, data: found };
}

/**
 * The same values, channel after channel.
 *
 * @param {object} image - as `resize` takes it
 * @returns {Uint8Array} [channels, height, width]
 */
export function channelsFirst({ width, height, channels, data }) {
  const plane = width * height;
  const found = new Uint8Array(plane * channels);
  for (let channel = 0; channel < channels; channel++) {
    for (let i = 0, place = channel; i < plane; i++, place += channels) {
      found[channel * plane + i] = data[place];
    }
  }
  return found;
}
