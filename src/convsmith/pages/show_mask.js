/** Showing a segmentation: its colours over the image, how strongly, and a legend. */
import { bars, canvasOf, distanceOf, headline } from "./answer_parts.js";
import { element } from "./elements.js";

/**
 * A mask over its image, with the legend of the classes that it shows.
 *
 * @param {{size: number[], classes: object[], runs: number[][]}} answer
 * @param {ImageBitmap | HTMLCanvasElement} picture - the upright image, of that size
 * @param {{colours?: number[][], name: string}} options - as `showAnswer` takes them
 * @returns {HTMLElement}
 */
export function showMask(answer, picture, { colours, name }) {
  const palette = colours ?? vocColours(256);
  const mask = drawMask(answer, palette);
  const opacity = element("input", { type: "range", min: "0", max: "100", value: "60" });
  const follow = () => {
    mask.style.opacity = String(opacity.value / 100);
  };
  opacity.addEventListener("input", follow);
  follow();
  const rows = answer.classes.map((it) => ({ name: it.label, share: it.share, colour: palette[it.class_id] }));
  const figure = element(
    "figure",
    { class: "picture" },
    element("div", { class: "layers" }, canvasOf(picture, name), mask),
    element("figcaption", { class: "quiet" }, name),
    element("label", { class: "opacity" }, "Opacity of the mask", opacity),
  );
  const legend = bars("Legend: classes by their share of the image", rows);
  const said = element("div", {}, element("h2", {}, headline(answer)), legend, ...distanceOf(answer));
  return element("div", { class: "answer" }, figure, said);
}

/**
 * The first colours of PASCAL VOC, whose class 0 is black, as convsmith uses them where a bundle has none.
 *
 * @param {number} count
 * @returns {number[][]} red, green and blue of each class
 */
export function vocColours(count) {
  return Array.from({ length: count }, (_, id) => {
    const colour = [0, 0, 0];
    for (let bit = 0; bit < 8; bit++) {
      for (let channel = 0; channel < 3; channel++) {
        colour[channel] |= ((id >> (3 * bit + channel)) & 1) << (7 - bit);
      }
    }
    return colour;
  });
}

/** The colours of a mask's runs `[class_id, length]`, row after row. */
function drawMask({ size: [height, width], runs }, palette) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  let at = 0;
  for (const [id, length] of runs) {
    const [red, green, blue] = palette[id];
    pixels.fill((255 << 24) | (blue << 16) | (green << 8) | red, at, (at += length));
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
