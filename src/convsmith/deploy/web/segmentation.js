/** The answer of a segmentation: the class of each pixel. */
import { neighbours, resizePlanes, rowBetween } from "./bilinear.js";
import { look, looksAt } from "./looks.js";
import { channelsFirst } from "./preprocess.js";

const MOST = 80; // exp(88.8) is infinite in float32, and sums of many windows and sizes need room
const LEAST = 2 ** -126; // whose logarithm is finite

export const segmentation = {
  /** The upright image itself: it is brought to its sizes and windows while the model looks at it. */
  inputOf: (image) => ({ pixels: channelsFirst(image), shape: [1, image.channels, image.height, image.width] }),
  answer,
  /** The class of each eighth row and column, by which two answers are compared. */
  decisions: ({ size: [height, width], runs }) => {
    const mask = fromRuns(runs, height * width);
    const found = [];
    for (let y = 0; y < height; y += 8) {
      for (let x = 0; x < width; x += 8) {
        found.push(mask[y * width + x]);
      }
    }
    return found;
  },
};

/**
 * The answer to an image, as `POST /predict` gives it.
 *
 * @param {{pixels: Uint8Array, shape: number[]}} input
 * @param {object} manifest - what bundle.json says
 * @param {(pixels: Uint8Array, shape: number[]) => Promise<{data: Float32Array}>} run - the model
 * @returns {Promise<{size: number[], classes: object[], runs: number[][]}>}
 */
async function answer({ pixels, shape: [, channels, height, width] }, manifest, run) {
  const numClasses = manifest.labels.length;
  const size = { channels, height, width };
  const seen = [];
  for (const one of looksAt(size, manifest.preprocess, numClasses)) {
    seen.push(await scoresOf(pixels, size, one, manifest, run));
  }
  const rows = rowsOf(seen, size, manifest.preprocess.align_corners);
  return chosen(rows, size, seen[0].areLogits, manifest);
}

/** What one size gives: its logits where the image is seen at once in its own size alone, else mean powers of them. */
async function scoresOf(pixels, size, one, manifest, run) {
  const planes = resizePlanes(pixels, size, one.height, one.width);
  const from = { channels: size.channels, height: one.height, width: one.width };
  const parts = one.rows.flatMap((rows) => one.columns.map((columns) => ({ rows, columns, window: one.window })));
  const isOwnSize = one.height === size.height && one.width === size.width;
  if (parts.length === 1 && isOwnSize && manifest.preprocess.scales.length === 1) {
    const scores = finite(await look(planes, from, parts[0], manifest.preprocess, run));
    return { ...one, scores, areLogits: true };
  }
  const plane = one.height * one.width;
  const sums = new Float32Array(manifest.labels.length * plane);
  const counts = new Float32Array(plane);
  for (const part of parts) {
    const logits = finite(await look(planes, from, part, manifest.preprocess, run));
    addPowers(sums, counts, logits, part, one);
  }
  for (let i = 0; i < sums.length; i++) {
    sums[i] /= counts[i % plane];
  }
  return { ...one, scores: sums, areLogits: false };
}

function addPowers(sums, counts, logits, { rows, columns }, { height, width }) {
  const wide = columns[1] - columns[0];
  const tall = rows[1] - rows[0];
  for (let i = 0; i < logits.length; i++) {
    const row = Math.floor(i / wide);
    const place = (rows[0] + (row % tall)) * width + columns[0] + (i % wide);
    sums[Math.floor(row / tall) * height * width + place] += Math.fround(Math.exp(Math.min(logits[i], MOST)));
    if (row < tall) {
      counts[place] += 1;
    }
  }
}

function finite(logits) {
  if (!logits.every(Number.isFinite)) {
    throw new Error("the model gives no answer: its logits are not finite");
  }
  return logits;
}

/** Makes the scores `[K][width]` of a row of the image, summed over its sizes. */
function rowsOf(seen, { height, width }, alignCorners) {
  const ways = seen.map((one) => ({
    ...one,
    down: neighbours(one.height, height, alignCorners),
    across: neighbours(one.width, width, alignCorners),
    isSame: one.height === height && one.width === width,
  }));
  const row = new Float32Array(width);
  return (y, found) => {
    found.forEach((sums, id) => {
      sums.fill(0);
      for (const { scores, height: tall, width: wide, down, across, isSame } of ways) {
        const plane = scores.subarray(id * tall * wide, (id + 1) * tall * wide);
        if (isSame) {
          row.set(plane.subarray(y * wide, (y + 1) * wide));
        } else {
          rowBetween(plane, wide, { before: down.before[y], after: down.after[y], way: down.way[y] }, across, row);
        }
        for (let x = 0; x < width; x++) {
          sums[x] += row[x];
        }
      }
    });
  };
}

/** The class with the largest score of each pixel, of equal ones the lower; its probability if that is calibrated. */
function chosen(rowAt, { height, width }, areLogits, { labels, calibration }) {
  const scores = labels.map(() => new Float32Array(width));
  const pixels = labels.map(() => 0);
  const probabilities = labels.map(() => 0);
  const runs = [];
  for (let y = 0; y < height; y++) {
    rowAt(y, scores);
    for (let x = 0; x < width; x++) {
      if (calibration) {
        scale(scores, x, areLogits, calibration);
      }
      let best = 0;
      for (let id = 1; id < scores.length; id++) {
        best = scores[id][x] > scores[best][x] ? id : best;
      }
      pixels[best] += 1;
      if (calibration) {
        const total = scores.reduce((sum, plane) => sum + Math.exp(plane[x] - scores[best][x]), 0);
        probabilities[best] += 1 / total;
      }
      if (runs.length && runs[runs.length - 1][0] === best) {
        runs[runs.length - 1][1] += 1;
      } else {
        runs.push([best, 1]);
      }
    }
  }
  const classes = labels
    .map((label, id) => ({
      class_id: id,
      label,
      pixels: pixels[id],
      share: pixels[id] / (height * width),
      ...(calibration ? { score: probabilities[id] / pixels[id] } : {}),
    }))
    .filter((entry) => entry.pixels)
    .sort((one, other) => other.pixels - one.pixels);
  return { size: [height, width], classes, runs };
}

function scale(scores, x, areLogits, { weights, bias }) {
  scores.forEach((plane, id) => {
    const logit = areLogits ? plane[x] : Math.log(Math.max(plane[x], LEAST));
    plane[x] = logit * weights[weights.length > 1 ? id : 0] + (bias?.[id] ?? 0);
  });
}

function fromRuns(runs, length) {
  const mask = new Uint8Array(length);
  let at = 0;
  for (const [id, count] of runs) {
    mask.fill(id, at, (at += count));
  }
  return mask;
}
