/** The server's own page: an image is sent to `predict`, and its answer shown. */
import { headline } from "./answer_parts.js";
import { chooseImage } from "./choose_image.js";
import { element } from "./elements.js";
import { showAnswer } from "./show_answer.js";
import { whereItLooked } from "./where_it_looked.js";

const [about, choice, select, choose, status, place] = ["about", "choice", "model", "choose", "status", "answer"].map(
  (id) => document.getElementById(id),
);
const listModels = async () => (await fetch("page/models")).json();
const models = await listModels();

/** The model that is asked. */
const chosen = () => models[Number(select.value)];

/** Whether there is another version of a model. */
const hasVersions = ({ name }) => models.filter((model) => model.name === name).length > 1;

/** Say what is asked. */
function describe() {
  const { architecture, labels, device } = chosen();
  const where = device ? `on this server's ${device}` : "not in this server's memory, so that the first answer takes longer";
  about.textContent = `${architecture}, ${labels} classes, ${where}. Images go to this server alone.`;
}

/** Learn what is known of a model since its answer has brought it into memory. */
async function learn(model) {
  const now = (await listModels()).find(({ name, version }) => name === model.name && version === model.version);
  Object.assign(model, now);
  describe();
}

/** Say which model is asked, and offer the others. */
function showModels() {
  const names = models.map((model) => (hasVersions(model) ? `${model.name}, version ${model.version}` : model.name));
  select.append(...names.map((name, number) => element("option", { value: number }, name)));
  choice.hidden = models.length < 2;
  select.addEventListener("change", describe);
  describe();
}

/** An address that answers an image of a model. */
function address(path, model, query = {}) {
  const url = new URL(path, location.href);
  const which = models.length > 1 ? { model: model.name } : {};
  const version = hasVersions(model) ? { version: model.version } : {};
  url.search = new URLSearchParams({ ...which, ...version, ...query });
  return url;
}

/** The answer to an image at an address; an error in words where there is none. */
async function post(url, image, name, accept) {
  const form = new FormData();
  form.append("image", image, name);
  const response = await fetch(url, { method: "POST", body: form, headers: { Accept: accept } });
  if (!response.ok) {
    const { error, why, fix } = await response.json();
    throw new Error([error, why, fix].filter(Boolean).join(": "));
  }
  return response;
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
function curl(name, url) {
  const file = `image=@${name}`.replaceAll("'", `'\\''`);
  return element(
    "details",
    {},
    element("summary", {}, "The same from a shell"),
    element("pre", { tabindex: "0" }, `curl -F '${file}' '${url}'`),
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
    const model = chosen();
    const url = address("predict", model);
    const start = performance.now();
    const response = await post(url, image, name, "application/json");
    const answer = await response.json();
    const took = timing(response.headers.get("Server-Timing"), performance.now() - start);
    if (!model.device) await learn(model);
    const picture = await createImageBitmap(image).catch(() => unseen(answer));
    const explain = async (class_id) =>
      (await post(address("explain", model, { class_id }), image, name, "image/png")).blob();
    place.replaceChildren(
      showAnswer(answer, picture, { colours: model.colours, name }),
      ...(model.cam ? [whereItLooked(answer.top, explain)] : []),
      element("p", { class: "quiet" }, took),
      curl(name, url),
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
