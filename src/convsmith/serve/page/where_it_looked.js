/** Where the model found what speaks for a class: shown for one of the top classes, when a person asks for it. */
import { element } from "./elements.js";

/**
 * A place to choose a class and see its map.
 *
 * @param {{class_id: number, label: string}[]} classes - the first one is chosen at the beginning
 * @param {(class_id: number) => Promise<Blob>} explain - gives the picture; its error is shown
 * @returns {HTMLElement}
 */
export function whereItLooked(classes, explain) {
  const select = element("select", {}, ...classes.map(({ class_id, label }) => element("option", { value: class_id }, label)));
  const button = element("button", { type: "button" }, "Show where");
  const status = element("p", { class: "status", role: "status" });
  const picture = element("figure", { class: "picture" });

  const show = async () => {
    const label = select.selectedOptions[0].text;
    button.disabled = true;
    try {
      const url = URL.createObjectURL(await explain(Number(select.value)));
      const image = element("img", { class: "heat", src: url, alt: `What speaks for ${label}, in bright colours` });
      image.addEventListener("load", () => URL.revokeObjectURL(url));
      picture.replaceChildren(image, element("figcaption", { class: "quiet" }, "What the model saw of the image."));
      status.className = "status";
      status.textContent = `The brighter a place, the more of it speaks for ${label}.`;
    } catch (error) {
      picture.replaceChildren();
      status.className = "status error";
      status.textContent = error.message;
    }
    button.disabled = false;
  };
  button.addEventListener("click", show);
  const choice = element("p", {}, element("label", {}, "Where it looked for ", select), " ", button);
  return element("section", { "aria-label": "Where the model looked" }, choice, status, picture);
}
