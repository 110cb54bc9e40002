/**
 * Reading PNG files of all kinds, so that their pixels are the file's own: browsers convert colours by profiles, and
 * multiply them by their transparency.
 */

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const MOST_PIXELS = 64 * 1024 * 1024;
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }; // by colour type
const PALETTE = 3;
// Adam7: where each pass begins, and its steps
const PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

/**
 * Whether these are the bytes of a PNG file.
 *
 * @param {Uint8Array} bytes
 */
export function isPng(bytes) {
  return SIGNATURE.every((value, i) => bytes[i] === value);
}

/**
 * The pixels of a PNG file.
 *
 * @param {Uint8Array} bytes - the whole file
 * @returns {Promise<object>} `{width, height, channels, bits, data, palette, alphas, transparent, orientation}`: data has
 *   8 bits (those of less are scaled, but for a palette's numbers) or 16; `palette` has the colours, `alphas` their
 *   transparency; `transparent` is the one colour that is; orientation is EXIF's, 1 to 8
 * @throws {Error} the file is damaged or too large
 */
export async function readPng(bytes) {
  const chunks = chunksOf(bytes);
  const head = chunks.find(({ type }) => type === "IHDR")?.data;
  if (!head || head.length < 13) {
    throw new Error("the PNG file has no header");
  }
  const view = new DataView(head.buffer, head.byteOffset);
  const width = view.getUint32(0);
  const height = view.getUint32(4);
  const [depth, colours, , , interlaced] = head.subarray(8);
  const channels = CHANNELS[colours];
  if (!width || !height || !channels || ![1, 2, 4, 8, 16].includes(depth)) {
    throw new Error("the PNG file is damaged");
  }
  if (width * height > MOST_PIXELS) {
    throw new Error(`it has ${width} x ${height} pixels, and ${MOST_PIXELS} are allowed`);
  }
  const grid = { width, height, channels, depth };
  const passes = interlaced ? PASSES.map((pass) => passOf(grid, pass)) : [passOf(grid, [0, 0, 1, 1])];
  const length = passes.reduce((sum, pass) => sum + pass.height * (pass.width && pass.rowBytes + 1), 0);
  const packed = await unpacked(chunks.filter(({ type }) => type === "IDAT").map(({ data }) => data), length);
  const data = new (depth === 16 ? Uint16Array : Uint8Array)(width * height * channels);
  const scale = colours === PALETTE || depth >= 8 ? 1 : 255 / (2 ** depth - 1);
  let at = 0;
  for (const pass of passes.filter((it) => it.width && it.height)) {
    unfilter(packed, at, pass, Math.max(1, (channels * depth) >> 3));
    spread(packed, at, pass, grid, data, scale);
    at += pass.height * (pass.rowBytes + 1);
  }
  const found = { width, height, channels, bits: depth === 16 ? 16 : 8, data, orientation: orientationOf(chunks) };
  return { ...found, ...transparencyOf(chunks, colours) };
}

function chunksOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks = [];
  for (let at = SIGNATURE.length; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    chunks.push({ type, data: bytes.subarray(at + 8, Math.min(at + 8 + length, bytes.length)) });
    at += length + 12;
  }
  return chunks;
}

/** The size of a pass, where its pixels lie, and how many bytes one of its rows has. */
function passOf({ width, height, channels, depth }, [left, top, acrossStep, downStep]) {
  const columns = Math.max(0, Math.ceil((width - left) / acrossStep));
  const rows = Math.max(0, Math.ceil((height - top) / downStep));
  return { left, top, acrossStep, downStep, width: columns, height: rows, rowBytes: (columns * channels * depth + 7) >> 3 };
}

/** So many bytes of a zlib stream; what comes after them is not looked at. */
async function unpacked(parts, length) {
  const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  const found = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const { done, value } = await reader.read().catch(() => ({ done: true }));
    if (done) {
      throw new Error("the PNG file is damaged, or its end is missing");
    }
    found.set(value.subarray(0, length - at), at);
    at += value.length;
  }
  reader.cancel().catch(() => {});
  return found;
}

/** Undo the filters of a pass's rows, in place; each row begins with the number of its filter. */
function unfilter(bytes, start, { height, rowBytes }, step) {
  for (let y = 0, row = start + 1; y < height; y++, row += rowBytes + 1) {
    const filter = bytes[row - 1];
    const above = y ? row - rowBytes - 1 : -1;
    for (let i = 0; filter && i < rowBytes; i++) {
      const left = i >= step ? bytes[row + i - step] : 0;
      const up = above < 0 ? 0 : bytes[above + i];
      if (filter === 1) {
        bytes[row + i] += left;
      } else if (filter === 2) {
        bytes[row + i] += up;
      } else if (filter === 3) {
        bytes[row + i] += (left + up) >> 1;
      } else {
        bytes[row + i] += paeth(left, up, above >= 0 && i >= step ? bytes[above + i - step] : 0);
      }
    }
  }
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const [toLeft, toUp, toCorner] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  if (toLeft <= toUp && toLeft <= toCorner) {
    return left;
  }
  return toUp <= toCorner ? up : corner;
}

/** Put the values of a pass where they belong in the image. */
function spread(bytes, start, pass, { width, channels, depth }, data, scale) {
  const mask = 2 ** depth - 1;
  for (let y = 0, row = start + 1; y < pass.height; y++, row += pass.rowBytes + 1) {
    for (let x = 0; x < pass.width; x++) {
      const place = ((pass.top + y * pass.downStep) * width + pass.left + x * pass.acrossStep) * channels;
      for (let channel = 0; channel < channels; channel++) {
        const i = x * channels + channel;
        if (depth === 8) {
          data[place + channel] = bytes[row + i];
        } else if (depth === 16) {
          data[place + channel] = (bytes[row + 2 * i] << 8) | bytes[row + 2 * i + 1];
        } else {
          const bit = i * depth;
          data[place + channel] = ((bytes[row + (bit >> 3)] >> (8 - depth - (bit & 7))) & mask) * scale;
        }
      }
    }
  }
}

function transparencyOf(chunks, colours) {
  const palette = chunks.find(({ type }) => type === "PLTE")?.data;
  const given = chunks.find(({ type }) => type === "tRNS")?.data;
  if (colours === PALETTE) {
    if (!palette) {
      throw new Error("the PNG file has no palette");
    }
    return { palette, alphas: given };
  }
  if (!given || colours > PALETTE) {
    return {};
  }
  return { transparent: Array.from({ length: given.length >> 1 }, (_, i) => (given[2 * i] << 8) | given[2 * i + 1]) };
}

/** EXIF's orientation; what cannot be read counts as upright. */
function orientationOf(chunks) {
  const exif = chunks.find(({ type }) => type === "eXIf")?.data;
  if (!exif || exif.length < 8) {
    return 1;
  }
  const view = new DataView(exif.buffer, exif.byteOffset, exif.length);
  const isLittle = view.getUint16(0) === 0x4949;
  const first = view.getUint32(4, isLittle);
  for (let at = first + 2; at + 12 <= exif.length; at += 12) {
    if (view.getUint16(at, isLittle) === 0x0112) {
      const value = view.getUint16(at + 8, isLittle);
      return value >= 1 && value <= 8 ? value : 1;
    }
  }
  return 1;
}
