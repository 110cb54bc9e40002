/** The files beside the page: fetched, or where the page was opened from a disk, taken out of offline.js. */

/** Whether the page was opened from a disk, where browsers fetch nothing. */
export const isOffline = location.protocol === "file:";

let offline = null; // the promise that offline.js is loaded

/**
 * The bytes of a file.
 *
 * @param {string} name
 * @returns {Promise<Uint8Array>}
 */
export async function readFile(name) {
  if (isOffline) {
    offline ??= loadScript("offline.js");
    await offline;
    return bytesOf(globalThis.offline[name]);
  }
  const answer = await fetch(name);
  if (!answer.ok) {
    throw new Error(`${name} cannot be loaded: ${answer.status} ${answer.statusText}`);
  }
  return new Uint8Array(await answer.arrayBuffer());
}

/**
 * What a file exports that is an ES module.
 *
 * @param {string} name
 * @returns {Promise<object>}
 */
export async function loadModule(name) {
  if (!isOffline) {
    return import(new URL(name, document.baseURI).href);
  }
  return import(URL.createObjectURL(new Blob([await readFile(name)], { type: "text/javascript" })));
}

function loadScript(name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = name;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${name} is missing beside this page`));
    document.head.append(script);
  });
}

/** The bytes of parts in base64. */
function bytesOf(parts) {
  const texts = parts.map(atob);
  const found = new Uint8Array(texts.reduce((sum, text) => sum + text.length, 0));
  let at = 0;
  for (const text of texts) {
    for (let i = 0; i < text.length; i++, at++) {
      found[at] = text.charCodeAt(i);
    }
  }
  return found;
}
