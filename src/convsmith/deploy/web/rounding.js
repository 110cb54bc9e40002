/** Rounding as Python and numpy do it. */

/**
 * The nearest whole number; halves become the even one.
 *
 * @param {number} value - 0 or more
 * @returns {number}
 */
export function roundHalfToEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
