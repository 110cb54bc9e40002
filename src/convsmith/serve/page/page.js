/** The server's own page: an image is sent to `predict`, and its answer shown. */
import { headline } from "./answer_parts.js";
import { chooseImage } from "./choose_image.js";
import { element } from "./elements.js";
import { showAnswer } from "./show_answer.js";

const [about, choice, select, choose, status, place] = ["about", "choice", "model", "choose", "status", "answer"].map(
  (id) => document.getElementById(id),
);
const models = await (await fetch("page/models")).json();

/** The model that is asked. */
const chosen = () => models.find((model) => model.name === select.value);

/** Say which model is asked, and offer the others. */
function showModels() {
  select.append(...models.map((model) => element("option", { value: model.name }, model.name)));
  choice.hidden = models.length < 2;
  const describe = () => {
    const { architecture, labels, device } = chosen();
    about.textContent = `${architecture}, ${labels} classes, on this server's ${device}. Images go to this server alone.`;
  };
  select.addEventListener("change", describe);
  describe();
}

/** The address that answers an image of the chosen model. */
function address() {
  return new URL(models.length > 1 ? `predict?model=${encodeURIComponent(select.value)}` : "predict", location.href);
}

/**
 * The seconds that parts of an answer took, in words.
 *
 * @param {string | null} header - `Server-Timing`, as `inference;dur=12.5, ...` in milliseconds
 * @param {number} whole - milliseconds until the answer was here
 */
function timing(header, whole) {
  const stages = [...(header ?? "").matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, ms]) => `${name} ${ms}`);
  return `${Math.round(whole)} ms${stages.length ? `, of which ${stages.join(", ")}` : ""}`;
}

/** The command that asks the same; a name is quoted as a shell reads it. */
function curl(name) {
  const file = `image=@${name}`.replaceAll("'", `'\\''`);
  return element(
    "details",
    {},
    element("summary", {}, "The same from a shell"),
    element("pre", { tabindex: "0" }, `curl -F '${file}' '${address()}'`),
  );
}

/** A grey picture in place of one that the browser cannot show, as it shows no TIFF. */
function unseen({ size: [height, width] = [64, 64] }) {
  const canvas = element("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.fillStyle = "grey";
  context.fillRect(0, 0, width, height);
  return canvas;
}

/** Send an image and show its answer, or why there is none. */
async function ask(image, name) {
  status.className = "status";
  status.textContent = `Looking at ${name}...`;
  try {
    const form = new FormData();
    form.append("image", image, name);
    const start = performance.now();
    const response = await fetch(address(), { method: "POST", body: form, headers: { Accept: "application/json" } });
    const answer = await response.json();
    const took = timing(response.headers.get("Server-Timing"), performance.now() - start);
    if (!response.ok) {
      throw new Error([answer.error, answer.why, answer.fix].filter(Boolean).join(": "));
    }
    const picture = await createImageBitmap(image).catch(() => unseen(answer));
    const { colours } = chosen();
    place.replaceChildren(
      showAnswer(answer, picture, { colours, name }),
      element("p", { class: "quiet" }, took),
      curl(name),
    );
    status.textContent = `${name}: ${headline(answer)}`;
  } catch (error) {
    place.replaceChildren();
    status.className = "status error";
    status.textContent = `${name}: ${error.message}`;
  }
}

showModels();
chooseImage(choose, ask);
