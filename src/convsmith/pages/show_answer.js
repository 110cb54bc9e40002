/** Showing an answer: the JSON that `POST /predict` gives, and that the page of a web export makes itself. */
import { bars, canvasOf, distanceOf, headline, listed } from "./answer_parts.js";
import { element } from "./elements.js";
import { showMask } from "./show_mask.js";

/**
 * The answer to one image, beside the image.
 *
 * @param {object} answer - of a classifier `{class_id, label, score, top, set?, unknown?}`, of several labels
 *   `{labels, top, set?}`, of a segmentation `{size, classes, runs}`; each may have a `distance`
 * @param {ImageBitmap | HTMLCanvasElement} picture - the upright image
 * @param {{colours?: number[][], name?: string}} [options] - red, green and blue of each class of a segmentation; what
 *   the image is called
 * @returns {HTMLElement}
 */
export function showAnswer(answer, picture, { colours, name = "the image" } = {}) {
  if (answer.runs) {
    return showMask(answer, picture, { colours, name });
  }
  const there = new Set((answer.labels ?? []).map((entry) => entry.class_id));
  const rows = answer.top.map((it) => ({ name: it.label, share: it.score, isThere: there.has(it.class_id) }));
  const said = element("div", {}, element("h2", {}, headline(answer)));
  if (answer.unknown) {
    said.append(element("p", { class: "note" }, "Unknown: no class is probable enough for an answer."));
  }
  said.append(bars("Classes by probability", rows));
  if (answer.set) {
    said.append(element("p", {}, `In the prediction set: ${listed(answer.set) || "no class"}`));
  }
  said.append(...distanceOf(answer));
  const layers = element("div", { class: "layers" }, canvasOf(picture, name));
  const figure = element("figure", { class: "picture" }, layers, element("figcaption", { class: "quiet" }, name));
  return element("div", { class: "answer" }, figure, said);
}
