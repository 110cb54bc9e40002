/** From the logits of a classifier to labels with probabilities. */

/**
 * Logits as the bundle means them.
 *
 * @param {Float32Array} logits
 * @param {{weights: number[], bias: number[] | null} | null} calibration
 * @returns {number[]}
 */
export function scaled(logits, calibration) {
  const { weights, bias } = calibration ?? { weights: [1], bias: null };
  const found = Array.from(logits, (it, id) => it * weights[weights.length > 1 ? id : 0] + (bias?.[id] ?? 0));
  if (!found.every(Number.isFinite)) {
    throw new Error("the model gives no answer: its logits are not finite");
  }
  return found;
}

/** Probabilities of classes that exclude each other. */
export function softmax(logits) {
  const most = logits.reduce((one, other) => Math.max(one, other));
  const powers = logits.map((it) => Math.exp(it - most));
  const total = powers.reduce((sum, it) => sum + it);
  return powers.map((it) => it / total);
}

/** The probability of a class by itself. */
export function sigmoid(logit) {
  const small = Math.exp(-Math.abs(logit));
  return (logit < 0 ? small : 1) / (1 + small);
}

/**
 * All classes, the most probable first; of equal ones the lower.
 *
 * @param {number[]} logits
 * @param {number[]} probabilities
 * @param {string[]} labels
 * @returns {{class_id: number, label: string, score: number}[]}
 */
export function ranked(logits, probabilities, labels) {
  return labels
    .map((label, id) => ({ class_id: id, label, score: probabilities[id] }))
    .sort((one, other) => logits[other.class_id] - logits[one.class_id]);
}

/** `{set}` with the classes that reach the thresholds of the bundle's sets, or nothing where it has none. */
export function setOf(entries, calibration) {
  const thresholds = calibration?.sets?.thresholds;
  const at = (id) => thresholds[thresholds.length > 1 ? id : 0];
  return thresholds ? { set: entries.filter((entry) => entry.score >= at(entry.class_id)) } : {};
}
