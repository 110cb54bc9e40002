/** The page: images in, answers out, all of it in this browser. */
import { headline } from "../../pages/answer_parts.js";
import { chooseImage } from "../../pages/choose_image.js";
import { showAnswer } from "../../pages/show_answer.js";
import { classification } from "./classification.js";
import { openModel, threads } from "./model.js";
import { multilabel } from "./multilabel.js";
import { forEyes, readImage } from "./read_image.js";
import { segmentation } from "./segmentation.js";

const manifest = JSON.parse(document.querySelector("#manifest").textContent);
const task = { classification, multilabel, segmentation }[manifest.task];
const bands = { channels: manifest.preprocess.mean.length, range: manifest.preprocess.range };
const status = document.querySelector("#status");
const place = document.querySelector("#answer");
const model = openModel();
const MOST_SHOWN = 8; // answers: each holds its image

/**
 * The answer to an image file, with what it was made of.
 *
 * @param {Blob} file
 * @returns {Promise<{image: object, input: object, answer: object, decisions: number[]}>}
 */
async function answerTo(file) {
  const image = await readImage(file, bands);
  const input = task.inputOf(image, manifest.preprocess);
  const answer = await task.answer(input, manifest, await model);
  return { image, input, answer, decisions: task.decisions(answer, manifest) };
}

async function take(file, name) {
  await say(`Looking at ${name}`);
  const before = performance.now();
  try {
    const { image, answer } = await answerTo(file);
    const took = Math.round(performance.now() - before);
    show(showAnswer(answer, forEyes(image), { colours: manifest.colours, name }), name);
    await say(`${name}: ${headline(answer)} (${took} ms)`);
  } catch (error) {
    await say(`${name} cannot be looked at: ${error.message}.`, true);
  }
}

/** Put an answer above those before it; of one name, such as that of the camera, the last one stays. */
function show(answer, name) {
  answer.dataset.name = name;
  const others = [...place.children].filter((other) => other.dataset.name !== name);
  place.replaceChildren(answer, ...others.slice(0, MOST_SHOWN - 1));
}

/** Say what is going on, and let the browser show it before the next work. */
async function say(text, isError = false) {
  status.textContent = text;
  status.classList.toggle("error", isError);
  await new Promise((resolve) => setTimeout(resolve, 20));
}

chooseImage(document.querySelector("#choose"), take, { camera: bands.channels === 3 });
model.then(
  () => say(`Ready, with ${threads() === 1 ? "one thread" : `${threads()} threads`}.`),
  (error) => say(`The model cannot be loaded: ${error.message}`, true),
);
globalThis.convsmith = { model, answerTo };
