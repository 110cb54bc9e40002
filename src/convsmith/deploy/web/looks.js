/** In which sizes and through which windows an image is segmented: convsmith/bundle/segment.py and scores.py. */

const MOST_AT_ONCE = 4096 * 4096; // pixels that the model looks at in one go
const MOST_SCORES = 2 ** 27; // classes times pixels that a browser's memory is asked to hold

/**
 * The sizes that an image is looked at in, each with its windows.
 *
 * @param {{height: number, width: number}} image
 * @param {object} spec - `preprocess` of bundle.json, of method `whole`
 * @param {number} numClasses
 * @returns {{height: number, width: number, window: object | null, rows: number[][], columns: number[][]}[]} rows and
 *   columns: the first one of each window and the one after its last
 * @throws {Error} the image is too large
 */
export function looksAt({ height, width }, spec, numClasses) {
  const longer = Math.max(height, width);
  const looks = spec.scales.map((scale) => {
    const long = Math.trunc((spec.base_size ?? longer) * scale + 0.5);
    const size = spec.warp
      ? { height: long, width: long }
      : {
          height: Math.max(1, Math.trunc((height * long) / longer + 0.5)),
          width: Math.max(1, Math.trunc((width * long) / longer + 0.5)),
        };
    const window = spec.window && scale > spec.window.above_scale ? spec.window : null;
    return { ...size, window, ...spansOf(size, window) };
  });
  const pixels = looks.reduce((sum, look) => sum + look.height * look.width, 0);
  const tooMany = looks.some((look) => !look.window && look.height * look.width > MOST_AT_ONCE);
  if (tooMany || pixels * numClasses > MOST_SCORES) {
    throw new Error(`its ${width} x ${height} pixels are too many for a browser; scale it down first`);
  }
  return looks;
}

function spansOf({ height, width }, window) {
  if (!window) {
    return { rows: [[0, height]], columns: [[0, width]] };
  }
  const [tall, wide] = window.size;
  const steps = window.stride ?? window.size.map((side) => Math.max(1, Math.floor((side * 2) / 3)));
  const shift = window.border === "shift";
  return { rows: spans(height, tall, steps[0], shift), columns: spans(width, wide, steps[1], shift) };
}

function spans(length, side, step, shift) {
  const last = Math.max(0, length - side);
  const count = Math.ceil(last / step) + 1;
  return Array.from({ length: count }, (_, i) => {
    const start = shift ? Math.min(i * step, last) : i * step;
    return [start, Math.min(start + side, length)];
  });
}

/**
 * The logits of one look, `[K, height, width]` of what lies within the image.
 *
 * @param {Uint8Array} planes - the image in this size, channel after channel
 * @param {{channels: number, height: number, width: number}} size
 * @param {{rows: number[], columns: number[], window: object | null}} part
 * @param {object} spec
 * @param {(pixels: Uint8Array, shape: number[]) => Promise<{data: Float32Array}>} run - the model
 * @returns {Promise<Float32Array>}
 */
export async function look(planes, size, { rows, columns, window }, spec, run) {
  const inside = { height: rows[1] - rows[0], width: columns[1] - columns[0] };
  const isPadded = window && window.border === "pad";
  const [height, width] = isPadded ? window.size : [inside.height, inside.width];
  const seen = new Uint8Array(size.channels * height * width); // black beyond the border
  for (let channel = 0; channel < size.channels; channel++) {
    for (let y = 0; y < inside.height; y++) {
      const from = (channel * size.height + rows[0] + y) * size.width + columns[0];
      seen.set(planes.subarray(from, from + inside.width), (channel * height + y) * width);
    }
  }
  const shape = [1, size.channels, height, width];
  const { data: logits } = await run(seen, shape);
  if (spec.flip) {
    const { data } = await run(mirrored(seen, width), shape);
    average(logits, mirrored(data, width), height * width, spec.mirrored_classes);
  }
  return cut(logits, height, width, inside);
}

function mirrored(values, width) {
  const found = values.slice();
  for (let at = 0; at < found.length; at += width) {
    found.subarray(at, at + width).reverse();
  }
  return found;
}

/** The mean with the logits of the mirrored image, in place; classes that have a side change places. */
function average(logits, upright, plane, pairs) {
  const partner = Array.from({ length: logits.length / plane }, (_, i) => i);
  for (const [one, other] of pairs) {
    partner[one] = other;
    partner[other] = one;
  }
  for (let i = 0; i < logits.length; i++) {
    const place = partner[Math.floor(i / plane)] * plane + (i % plane);
    logits[i] = Math.fround(Math.fround(logits[i] + upright[place]) * 0.5);
  }
}

function cut(values, height, width, inside) {
  if (inside.height === height && inside.width === width) {
    return values;
  }
  const classes = values.length / (height * width);
  const found = new Float32Array(classes * inside.height * inside.width);
  for (let row = 0, at = 0; row < classes * inside.height; row++, at += inside.width) {
    const from = (Math.floor(row / inside.height) * height + (row % inside.height)) * width;
    found.set(values.subarray(from, from + inside.width), at);
  }
  return found;
}
