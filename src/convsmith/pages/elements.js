/** Making elements of a page. */

/**
 * An element with attributes and content; text is text, whatever it holds.
 *
 * @param {string} tag
 * @param {Record<string, string | boolean | EventListener>} [attributes] - functions listen to the event of their name
 * @param {...(Node | string)} content
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...content) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      made.addEventListener(name, value);
    } else if (typeof value === "boolean") {
      made.toggleAttribute(name, value);
    } else {
      made.setAttribute(name, value);
    }
  }
  made.append(...content);
  return made;
}

/**
 * A share of one in percent, as people read it.
 *
 * @param {number} share - 0 to 1
 * @returns {string}
 */
export function percent(share) {
  if (share > 0 && share < 0.0005) {
    return "< 0.1 %";
  }
  return `${(100 * share).toFixed(1)} %`;
}
