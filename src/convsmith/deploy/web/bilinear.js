/** Bilinear resizing without a filter, in float32 as convsmith/bundle/bilinear.py does it. */
import { roundHalfToEven } from "./rounding.js";

const { fround } = Math;

/**
 * The places that `to` new ones along a side of `from` lie between.
 *
 * @param {number} from
 * @param {number} to
 * @param {boolean} alignCorners - the corner points stay where they are
 * @returns {{before: Int32Array, after: Int32Array, way: Float32Array}} way: from the one before to the one after, 0 to 1
 */
export function neighbours(from, to, alignCorners = false) {
  const before = new Int32Array(to);
  const after = new Int32Array(to);
  const way = new Float32Array(to);
  for (let i = 0; i < to; i++) {
    const at = alignCorners ? i * ((from - 1) / Math.max(to - 1, 1)) : Math.max((i + 0.5) * (from / to) - 0.5, 0);
    before[i] = Math.min(Math.trunc(at), from - 1);
    after[i] = Math.min(before[i] + 1, from - 1);
    way[i] = at - before[i];
  }
  return { before, after, way };
}

/**
 * A row of a plane, between two of its rows and in another width.
 *
 * @param {Float32Array | Uint8Array} plane - rows of `width` values
 * @param {number} width
 * @param {{before: number, after: number, way: number}} down - which two rows, and how far from the one to the other
 * @param {object} across - `neighbours` of the columns
 * @param {Float32Array} row - is filled
 */
export function rowBetween(plane, width, down, across, row) {
  const upper = down.before * width;
  const lower = down.after * width;
  for (let x = 0; x < row.length; x++) {
    const left = across.before[x];
    const right = across.after[x];
    const share = across.way[x];
    const above = between(plane[upper + left], plane[upper + right], share);
    const below = between(plane[lower + left], plane[lower + right], share);
    row[x] = between(above, below, down.way);
  }
}

/** Rounded at each step as numpy rounds float32. */
function between(low, high, share) {
  return fround(low + fround(fround(high - low) * share));
}

/**
 * An image in another size, rounded to bytes.
 *
 * @param {Uint8Array} planes - channel after channel
 * @param {{channels: number, height: number, width: number}} from
 * @param {number} height
 * @param {number} width
 * @returns {Uint8Array}
 */
export function resizePlanes(planes, from, height, width) {
  if (from.height === height && from.width === width) {
    return planes;
  }
  const rows = neighbours(from.height, height);
  const across = neighbours(from.width, width);
  const found = new Uint8Array(from.channels * height * width);
  const row = new Float32Array(width);
  for (let channel = 0, at = 0; channel < from.channels; channel++) {
    const plane = planes.subarray(channel * from.height * from.width, (channel + 1) * from.height * from.width);
    for (let y = 0; y < height; y++, at += width) {
      rowBetween(plane, from.width, { before: rows.before[y], after: rows.after[y], way: rows.way[y] }, across, row);
      found.set(row.map(roundHalfToEven), at);
    }
  }
  return found;
}
