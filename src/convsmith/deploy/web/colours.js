/** From the pixels of a PNG file to bytes of the channels that the model takes: convsmith/bundle/images. */

const WORD = 65535;
const DARK = 8; // 16 bits that use less than this part of their range are taken for fewer bits

/**
 * The upright bytes of what `readPng` gives.
 *
 * @param {object} given
 * @param {{channels: number, range: number[] | null}} bands - of the bundle
 * @returns {object} an image as `resize` takes it
 * @throws {Error} it has other channels, or a range that is not known
 */
export function fittedPng(given, { channels, range }) {
  const png = given.bits === 16 && given.channels === 2 ? withColours(given) : given;
  const isWideGrey = png.bits === 16 && png.channels === 1;
  if (channels === 3 && !range) {
    return upright(asRgb(png), png.orientation);
  }
  const modeChannels = png.palette ? 3 : png.channels;
  if (channels !== 1 && channels !== 3 && modeChannels !== channels && !(modeChannels === 1 && channels === 3)) {
    throw wrongChannels(modeChannels, channels);
  }
  const isStored = isWideGrey || (!png.palette && png.channels === channels && (channels === 2 || channels === 4));
  if (png.bits === 16 && !isWideGrey && (range || isStored)) {
    throw new Error("of several channels of 16 bits only 8 can be read; save it with 8");
  }
  const stored = isStored ? png : asRgb(png);
  return fitted(upright(stored, png.orientation), channels, range);
}

/**
 * Bytes of the wanted channels: equal colours are grey where one is wanted, and grey is repeated where three are.
 *
 * @param {object} image - its data may have 16 bits
 * @param {number} channels
 * @param {number[] | null} range - the values that become 0 and 255
 * @returns {object} an image as `resize` takes it
 */
export function fitted(image, channels, range) {
  const isGrey = channels === 1 && image.channels === 3 && allEqual(image);
  const found = isGrey ? oneOf(image) : image;
  if (found.channels !== channels && !(found.channels === 1 && channels === 3)) {
    throw wrongChannels(found.channels, channels);
  }
  const bytes = { ...found, data: asBytes(found.data, range) };
  return bytes.channels === channels ? bytes : repeated(bytes);
}

function wrongChannels(found, channels) {
  return new Error(`it has ${found} channel${found === 1 ? "" : "s"}, where this model takes ${channels}`);
}

/** Red, green and blue as Pillow makes them, transparency on white. */
function asRgb(png) {
  const { width, height, channels, palette, alphas, transparent } = png;
  if (png.bits === 16 && channels === 1) {
    return repeated({ width, height, channels, data: greyOf(png) });
  }
  const data = highBytes(png);
  if (png.bits === 16) {
    checkBrightness(data, channels);
  }
  const found = new Uint8Array(width * height * 3);
  const key = transparent?.map((value) => value & 255);
  for (let i = 0, at = 0; at < found.length; i += channels, at += 3) {
    let red = data[i];
    let green = channels > 2 ? data[i + 1] : red;
    let blue = channels > 2 ? data[i + 2] : red;
    let alpha = channels === 2 ? data[i + 1] : channels === 4 ? data[i + 3] : 255;
    if (palette) {
      alpha = alphas?.[red] ?? 255;
      [red, green, blue] = [palette[3 * red] ?? 0, palette[3 * data[i] + 1] ?? 0, palette[3 * data[i] + 2] ?? 0];
    } else if (key && red === key[0] && green === (key[1] ?? key[0]) && blue === (key[2] ?? key[0])) {
      alpha = 0;
    }
    found[at] = onWhite(red, alpha);
    found[at + 1] = onWhite(green, alpha);
    found[at + 2] = onWhite(blue, alpha);
  }
  return { width, height, channels: 3, data: found };
}

/** Pillow's rounding of `value * alpha + 255 * (255 - alpha)` over 255. */
function onWhite(value, alpha) {
  const sum = value * alpha + 255 * (255 - alpha) + 128;
  return ((sum >> 8) + sum) >> 8;
}

/** Grey of 16 bits, rounded to 8. */
function greyOf({ data, transparent }) {
  checkRange(data);
  const found = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) {
    found[i] = data[i] === transparent?.[0] ? 255 : Math.floor((data[i] * 2 * 255 + WORD) / (2 * WORD));
  }
  return found;
}

/** Grey and transparency of 16 bits as colours, which Pillow makes of them. */
function withColours({ data, ...rest }) {
  const found = new Uint16Array(2 * data.length);
  for (let i = 0; i < data.length; i += 2) {
    found.fill(data[i], 2 * i, 2 * i + 3);
    found[2 * i + 3] = data[i + 1];
  }
  return { ...rest, channels: 4, data: found };
}

function highBytes({ bits, data }) {
  return bits === 8 ? data : Uint8Array.from(data, (value) => value >> 8);
}

function checkRange(data) {
  const highest = data.reduce((most, value) => Math.max(most, value), 0);
  if (0 < highest * DARK && highest * DARK <= WORD) {
    throw tooDark();
  }
}

function checkBrightness(data, channels) {
  if (!data.some((value, i) => i % channels < 3 && value >= 256 / DARK)) {
    throw tooDark();
  }
}

function tooDark() {
  return new Error("it has 16 bits but uses few of them: save it with 8");
}

function asBytes(data, range) {
  const isWide = data.BYTES_PER_ELEMENT === 2;
  if (!range && !isWide) {
    return data;
  }
  if (!range) {
    checkRange(data);
  } else if (!isWide && range[1] > 255) {
    throw new Error(`it has 8 bits, where this model takes values up to ${range[1]}`);
  }
  const [low, high] = range ?? [0, WORD];
  const scale = 255 / (high - low);
  const table = Uint8Array.from({ length: isWide ? WORD + 1 : 256 }, (_, value) =>
    Math.floor(Math.min(Math.max((value - low) * scale, 0), 255) + 0.5),
  );
  return Uint8Array.from(data, (value) => table[value]);
}

function allEqual({ data }) {
  for (let i = 0; i < data.length; i += 3) {
    if (data[i] !== data[i + 1] || data[i] !== data[i + 2]) {
      return false;
    }
  }
  return true;
}

function oneOf({ width, height, data }) {
  return { width, height, channels: 1, data: data.filter((_, i) => i % 3 === 0) };
}

function repeated({ width, height, data }) {
  const found = new Uint8Array(3 * data.length);
  data.forEach((value, i) => found.fill(value, 3 * i, 3 * i + 3));
  return { width, height, channels: 3, data: found };
}

/** Turned and mirrored as EXIF's orientation says. */
function upright(image, orientation) {
  if (orientation === 1) {
    return image;
  }
  const { width, height, channels, data } = image;
  const isLying = orientation >= 5;
  const [newWidth, newHeight] = isLying ? [height, width] : [width, height];
  const found = new data.constructor(data.length);
  for (let y = 0, at = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      let [column, row] = isLying ? [y, x] : [x, y];
      column = [2, 3, 7, 8].includes(orientation) ? width - 1 - column : column;
      row = [3, 4, 6, 7].includes(orientation) ? height - 1 - row : row;
      for (let channel = 0; channel < channels; channel++, at++) {
        found[at] = data[(row * width + column) * channels + channel];
      }
    }
  }
  return { width: newWidth, height: newHeight, channels, data: found };
}
