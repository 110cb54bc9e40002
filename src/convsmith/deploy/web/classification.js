/** The answer of a classifier: classes by probability. */
import { preprocess } from "./preprocess.js";
import { ranked, scaled, setOf, softmax } from "./scores.js";

const TOP = 5;

export const classification = {
  /** The square that the model sees. */
  inputOf: (image, spec) => ({
    pixels: preprocess(image, spec),
    shape: [1, image.channels, spec.crop, spec.crop],
  }),
  /** The answer, as `POST /predict` gives it. */
  answer: async ({ pixels, shape }, { labels, calibration }, run) => {
    const logits = scaled((await run(pixels, shape)).data, calibration);
    const entries = ranked(logits, softmax(logits), labels);
    const { unknown } = calibration ?? {};
    return {
      ...entries[0],
      top: entries.slice(0, TOP),
      ...setOf(entries, calibration),
      ...(unknown ? { unknown: entries[0].score < unknown.threshold } : {}),
    };
  },
  /** The class, by which two answers are compared. */
  decisions: (answer) => [answer.class_id],
};
