/** The parts that answers of all tasks are shown with. */
import { element, percent } from "./elements.js";

/**
 * The most important part of an answer in one line, for those who hear it.
 *
 * @param {object} answer - as `showAnswer` takes it
 * @returns {string}
 */
export function headline(answer) {
  if (answer.runs) {
    const [largest] = answer.classes;
    return `Most of it is ${largest.label}, ${percent(largest.share)}`;
  }
  if (answer.labels) {
    return listed(answer.labels) || "None of the labels";
  }
  return answer.unknown ? `Unknown, perhaps ${answer.label}` : `${answer.label}, ${percent(answer.score)}`;
}

/**
 * Classes in one line.
 *
 * @param {{label: string, score: number}[]} entries
 * @returns {string}
 */
export function listed(entries) {
  return entries.map((entry) => `${entry.label} ${percent(entry.score)}`).join(", ");
}

/**
 * Shares of one, each with its name and a bar.
 *
 * @param {string} title - what they are, for those who do not see it
 * @param {{name: string, share: number, colour?: number[], isThere?: boolean}[]} rows - colour: red, green and blue;
 *   isThere: it stands out
 * @returns {HTMLElement}
 */
export function bars(title, rows) {
  const items = rows.map(({ name, share, colour, isThere }) => {
    const length = element("span");
    const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
    length.style.width = `${100 * share}%`;
    if (colour) {
      swatch.style.background = length.style.background = `rgb(${colour.join(" ")})`;
    }
    return element(
      "li",
      { class: isThere ? "there" : "" },
      element("span", { class: "name" }, ...(colour ? [swatch] : []), isThere ? `✓ ${name}` : name),
      element("span", { class: "share" }, percent(share)),
      element("span", { class: "bar", "aria-hidden": "true" }, length),
    );
  });
  return element("ol", { class: "bars", "aria-label": title }, ...items);
}

/**
 * How far the image is from the training images, where the answer says it.
 *
 * @param {{distance?: {value: number, percentile: number}}} answer
 * @returns {HTMLElement[]}
 */
export function distanceOf({ distance }) {
  if (!distance) {
    return [];
  }
  const words = `Farther from the training images than ${percent(distance.percentile / 100)} of images held out.`;
  return [element("p", { class: "quiet" }, words)];
}

/**
 * A canvas that shows a picture.
 *
 * @param {ImageBitmap | HTMLCanvasElement} picture
 * @param {string} name - of the picture, for those who do not see it
 * @returns {HTMLCanvasElement}
 */
export function canvasOf(picture, name) {
  const canvas = element("canvas", { role: "img", "aria-label": name });
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").drawImage(picture, 0, 0);
  return canvas;
}
