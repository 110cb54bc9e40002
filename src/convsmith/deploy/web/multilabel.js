/** The answer of a model of several labels: each is there or not. */
import { preprocess } from "./preprocess.js";
import { ranked, scaled, setOf, sigmoid } from "./scores.js";

const TOP = 5;

export const multilabel = {
  /** The square that the model sees. */
  inputOf: (image, spec) => ({
    pixels: preprocess(image, spec),
    shape: [1, image.channels, spec.crop, spec.crop],
  }),
  /** The answer, as `POST /predict` gives it. */
  answer: async ({ pixels, shape }, { labels, thresholds, calibration }, run) => {
    const logits = scaled((await run(pixels, shape)).data, calibration);
    const entries = ranked(logits, logits.map(sigmoid), labels);
    const limits = scaledThresholds(thresholds ?? labels.map(() => 0.5), calibration);
    const there = entries.filter((entry) => entry.score >= limits[entry.class_id]);
    return { labels: there, top: entries.slice(0, TOP), ...setOf(entries, calibration) };
  },
  /** Whether each class is there, by which two answers are compared. */
  decisions: (answer, { labels }) => {
    const there = new Set(answer.labels.map((entry) => entry.class_id));
    return labels.map((_, id) => (there.has(id) ? 1 : 0));
  },
};

/** Thresholds that decide of calibrated probabilities what the given ones do of those that are not. */
function scaledThresholds(given, calibration) {
  if (!calibration) {
    return given;
  }
  const { weights, bias } = calibration;
  const logits = given.map((it) => Math.log(it) - Math.log1p(-it)); // infinite of 0 and 1, which stay what they are
  return logits.map((it, id) => sigmoid(it * weights[weights.length > 1 ? id : 0] + (bias?.[id] ?? 0)));
}
