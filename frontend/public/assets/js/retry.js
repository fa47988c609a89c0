/** How long to wait before trying again. */

const FIRST = 2_000;
const LONGEST = 30_000;

/**
 * The pause before attempt number `attempt + 1`: 2 s, 4 s, 8 s ... up to 30 s, of which a random
 * half, so that many tabs that lost the same server do not all come back at the same moment.
 *
 * @param {number} attempt  how many attempts have failed, from 1
 * @param {() => number} random  0 to 1
 * @returns {number} milliseconds
 */
export function backoff(attempt, random = Math.random) {
  const whole = Math.min(LONGEST, FIRST * 2 ** Math.max(0, attempt - 1));
  return whole / 2 + random() * (whole / 2);
}

/**
 * The Retry-After header (RFC 9110, section 10.2.3): seconds, or a date.
 *
 * @param {string | null} value
 * @param {number} now  milliseconds since 1970, as the server has it
 * @returns {number | null} milliseconds to wait, never negative; null when there is nothing readable
 */
export function parseRetryAfter(value, now) {
  const text = (value ?? "").trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  // A number that is no delay is no date either, whatever a lenient parser makes of it.
  if (!/[a-z]/i.test(text)) return null;
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}
