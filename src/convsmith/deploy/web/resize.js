/**
 * Pillow's `Image.resize` on bytes, equal to the last bit: src/libImaging/Resample.c, and Geometry.c for `nearest`.
 *
 * An image is `{width, height, channels, data}`, where data is a Uint8Array, row after row, pixel after pixel.
 */

const PRECISION_BITS = 32 - 8 - 2; // of the weights, which are integers

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: bicubic },
};

/**
 * The image in another size.
 *
 * @param {object} image
 * @param {number} width
 * @param {number} height
 * @param {"nearest" | "bilinear" | "bicubic"} interpolation
 * @returns {object} an image
 */
export function resize(image, width, height, interpolation) {
  if (image.width === width && image.height === height) {
    return image;
  }
  if (interpolation === "nearest") {
    return nearest(image, width, height);
  }
  const filter = FILTERS[interpolation];
  const rows = (it) => (it.width === width ? it : resizeRows(it, width, filter));
  const columns = (it) => (it.height === height ? it : resizeColumns(it, height, filter));
  return columnsComeFirst(image, width, height) ? rows(columns(image)) : columns(rows(image));
}

/** What Pillow does since version 13 where the height shrinks by more than twice as many pixels as the width. */
function columnsComeFirst(image, width, height) {
  return height < image.height && image.height - height > 2 * (image.width - width);
}

/** Each row of another width; every value is rounded to a byte. */
function resizeRows({ width: from, height, channels, data }, width, filter) {
  const { starts, counts, weights, most } = weightsFor(from, width, filter);
  const found = new Uint8ClampedArray(width * height * channels);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const first = (y * from + starts[x]) * channels;
      for (let channel = 0; channel < channels; channel++, at++) {
        let sum = 1 << (PRECISION_BITS - 1);
        for (let i = 0, place = first + channel; i < counts[x]; i++, place += channels) {
          sum += data[place] * weights[x * most + i];
        }
        found[at] = sum >> PRECISION_BITS;
      }
    }
  }
  return { width, height, channels, data: asBytes(found) };
}

/** Each column of another height, likewise. */
function resizeColumns({ width, height: from, channels, data }, height, filter) {
  const { starts, counts, weights, most } = weightsFor(from, height, filter);
  const row = width * channels;
  const found = new Uint8ClampedArray(row * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < row; x++, at++) {
      let sum = 1 << (PRECISION_BITS - 1);
      for (let i = 0, place = starts[y] * row + x; i < counts[y]; i++, place += row) {
        sum += data[place] * weights[y * most + i];
      }
      found[at] = sum >> PRECISION_BITS;
    }
  }
  return { width, height, channels, data: asBytes(found) };
}

/** For each of `to` places along a side of `from` pixels: the first pixel that counts, how many, and their weights. */
function weightsFor(from, to, { support, weight }) {
  const scale = from / to;
  const widened = Math.max(scale, 1);
  const reach = support * widened;
  const most = Math.ceil(reach) * 2 + 1;
  const starts = new Int32Array(to);
  const counts = new Int32Array(to);
  const weights = new Int32Array(to * most);
  const inverse = 1 / widened;
  for (let place = 0; place < to; place++) {
    const centre = (place + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const count = Math.min(Math.trunc(centre + reach + 0.5), from) - start;
    const shares = [];
    let total = 0;
    for (let i = 0; i < count; i++) {
      shares.push(weight((i + start - centre + 0.5) * inverse));
      total += shares[i];
    }
    for (let i = 0; i < count; i++) {
      const share = (total === 0 ? shares[i] : shares[i] / total) * (1 << PRECISION_BITS);
      weights[place * most + i] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    }
    starts[place] = start;
    counts[place] = count;
  }
  return { starts, counts, weights, most };
}

function bicubic(signed) {
  const a = -0.5;
  const x = Math.abs(signed);
  if (x < 1) {
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  }
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** The pixel in which the middle of each new one lies. */
function nearest({ width: from, height: fromHeight, channels, data }, width, height) {
  const columns = middles(from, width);
  const rows = middles(fromHeight, height);
  const found = new Uint8Array(width * height * channels);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const place = (rows[y] * from + columns[x]) * channels;
      for (let channel = 0; channel < channels; channel++, at++) {
        found[at] = data[place + channel];
      }
    }
  }
  return { width, height, channels, data: found };
}

/** Added up step by step, as Pillow does: multiplying rounds otherwise. */
function middles(from, to) {
  const step = from / to;
  const places = new Int32Array(to);
  for (let i = 0, at = step * 0.5; i < to; i++, at += step) {
    places[i] = Math.trunc(at);
  }
  return places;
}

function asBytes(clamped) {
  return new Uint8Array(clamped.buffer);
}
