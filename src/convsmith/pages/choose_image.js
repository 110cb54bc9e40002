/** Where a person drops, pastes or chooses images, or uses the camera. */
import { element } from "./elements.js";

/**
 * Fill a place with all ways to give an image.
 *
 * Images are taken one after another; while one is looked at, the next ones wait. Of the camera, one picture is taken by
 * a button, or one after another as long as the box is ticked.
 *
 * @param {HTMLElement} place
 * @param {(image: Blob, name: string) => Promise<void>} take - looks at an image, and shows itself what goes wrong
 * @param {{camera?: boolean}} [options] - camera: false where its pictures do not fit the model
 */
export function chooseImage(place, take, { camera = true } = {}) {
  let turn = Promise.resolve();
  const takeAll = (files) => {
    for (const file of files) {
      turn = turn.then(() => take(file, file.name));
    }
    return turn;
  };
  const input = element("input", {
    type: "file",
    accept: "image/*",
    multiple: true,
    change: async () => {
      await takeAll([...input.files]);
      input.value = ""; // so that the same file may be chosen again
    },
  });
  const drop = element("label", { class: "drop" }, "Drop images here, paste one, or choose files:", input);
  takeDropped(drop, takeAll);
  place.append(drop);
  if (camera && navigator.mediaDevices?.getUserMedia) {
    place.append(cameraView((image) => takeAll([new File([image], "camera")])));
  }
}

/** Let images be dropped anywhere on the page, and pasted. */
function takeDropped(drop, takeAll) {
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // or the browser opens the file in place of the page
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    takeAll(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => takeAll(event.clipboardData.files));
}

/** The camera's picture with its buttons. */
function cameraView(take) {
  const video = element("video", { hidden: true, muted: true, playsinline: true, "aria-label": "What the camera sees" });
  const problem = element("p", { class: "status error", role: "alert" });
  const again = element("input", { type: "checkbox" });
  const keepLooking = element("label", { hidden: true }, again, " keep looking");
  const button = element("button", { type: "button" }, "Use the camera");
  const stop = element("button", { type: "button", hidden: true }, "Stop the camera");

  const show = (isOn) => {
    video.hidden = stop.hidden = keepLooking.hidden = !isOn;
    button.textContent = isOn ? "Look" : "Use the camera";
  };
  const start = async () => {
    problem.textContent = "";
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      await video.play();
      show(true);
    } catch (error) {
      problem.textContent = `The camera cannot be used: ${error.message}`;
    }
  };
  const look = async () => {
    button.disabled = true;
    do {
      await take(await pictureOf(video));
      await new Promise(requestAnimationFrame); // the page shows the answer, and hears the buttons
    } while (again.checked && video.srcObject);
    button.disabled = false;
  };
  button.addEventListener("click", () => (video.srcObject ? look() : start()));
  stop.addEventListener("click", () => {
    video.srcObject.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    show(false);
    button.focus();
  });
  return element("div", { class: "camera" }, video, button, stop, keepLooking, problem);
}

/** What a video shows now, as a PNG. */
function pictureOf(video) {
  const canvas = element("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
