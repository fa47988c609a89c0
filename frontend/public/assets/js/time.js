/**
 * Time as the server has it, and time in words.
 *
 * A token's dates are the server's. A phone or laptop whose clock is wrong would show a fresh token
 * as run out, or use a dead one; so every moment here is compared with the server's clock, which is
 * known from the Date header of its answers (RFC 9110, section 6.6.1).
 */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The Date header has whole seconds, and an answer takes time: less than this is no news. */
const JITTER = 1.5 * SECOND;

/** How far a local clock may be off before a person is told. */
export const NOTABLE_SKEW = 15 * SECOND;

/** The server's clock, estimated. */
export class ServerClock {
  #local;

  /**
   * @param {() => number} local  the local clock, milliseconds since 1970
   * @param {number} offset       what is known already: server minus local, milliseconds
   */
  constructor(local = Date.now, offset = 0) {
    this.#local = local;
    this.offset = offset;
  }

  /** @returns {number} milliseconds since 1970, as the server has it */
  now() {
    return this.#local() + this.offset;
  }

  /**
   * Learn from one answer. The server wrote its date somewhere between our sending and our
   * receiving, and cut it to the second: the middle of both spans is the best guess. What the
   * answer leaves open is no news: a device that slept in between took hours to receive it.
   *
   * @param {string | number | null} date  the Date header, or milliseconds
   * @param {number} sent      local milliseconds
   * @param {number} received  local milliseconds
   * @returns {boolean} whether the estimate moved
   */
  observe(date, sent, received) {
    const server = typeof date === "number" ? date : Date.parse(date ?? "");
    if (!Number.isFinite(server)) return false;
    const offset = server + SECOND / 2 - (sent + received) / 2;
    const open = JITTER + Math.abs(received - sent) / 2;
    if (Math.abs(offset - this.offset) <= open) return false;
    this.offset = Math.abs(offset) <= open ? 0 : offset;
    return true;
  }
}

/**
 * When an access token is due for refreshing: after four fifths of its life or half a minute before
 * its end, whichever is earlier, but never in its first half, however short it is.
 *
 * @param {number} issuedAt   milliseconds
 * @param {number} expiresAt  milliseconds
 * @returns {number} milliseconds
 */
export function refreshDue(issuedAt, expiresAt) {
  const life = Math.max(0, expiresAt - issuedAt);
  const margin = Math.min(30 * SECOND, life / 2);
  return issuedAt + Math.min(0.8 * life, life - margin);
}

/**
 * A life-time as it was meant. An issuer that reads its clock twice, for `iat` and for `exp`, makes
 * tokens of 299 or 301 seconds where its settings say 300.
 *
 * @param {number} life  milliseconds
 * @returns {number} milliseconds
 */
export function roundLife(life) {
  const round = Math.round(life / (10 * SECOND)) * 10 * SECOND;
  return Math.abs(life - round) <= SECOND ? round : life;
}

/**
 * Time left as a clock shows it: `4:09`, `23:59:58`, `6 d 04:00:00`; never below zero.
 *
 * @param {number} milliseconds
 * @returns {string}
 */
export function formatCountdown(milliseconds) {
  const total = Math.max(0, Math.ceil(milliseconds / SECOND));
  const pad = (number) => String(number).padStart(2, "0");
  const seconds = pad(total % 60);
  const minutes = Math.floor(total / 60) % 60;
  const hours = Math.floor(total / 3600) % 24;
  const days = Math.floor(total / 86400);
  if (days > 0) return `${days} d ${pad(hours)}:${pad(minutes)}:${seconds}`;
  if (hours > 0) return `${hours}:${pad(minutes)}:${seconds}`;
  return `${minutes}:${seconds}`;
}

/**
 * A span in words, with at most its two largest units: `4 minutes 9 seconds`, `1 day`.
 *
 * @param {number} milliseconds
 * @returns {string}
 */
export function formatSpan(milliseconds) {
  let rest = Math.max(0, Math.round(milliseconds / SECOND)) * SECOND;
  const words = [];
  for (const [unit, size] of [["day", DAY], ["hour", HOUR], ["minute", MINUTE], ["second", SECOND]]) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) words.push(`${count} ${unit}${count === 1 ? "" : "s"}`);
    else if (words.length > 0) break;
  }
  return words.slice(0, 2).join(" ") || "0 seconds";
}

const INSTANT = { day: "numeric", month: "short", year: "numeric" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };

/**
 * A moment in the reader's own time zone: `22 Nov 2026, 04:12:33`.
 *
 * @param {number} milliseconds
 * @returns {string}
 */
export function formatInstant(milliseconds) {
  return new Intl.DateTimeFormat("en-GB", { ...INSTANT, ...CLOCK }).format(milliseconds);
}

/**
 * A moment of today: `04:12:33`.
 *
 * @param {number} milliseconds
 * @returns {string}
 */
export function formatClock(milliseconds) {
  return new Intl.DateTimeFormat("en-GB", CLOCK).format(milliseconds);
}

/**
 * A moment with its date only where it is not within half a day of now.
 *
 * @param {number} milliseconds
 * @param {number} now
 * @returns {string}
 */
export function formatNear(milliseconds, now) {
  return Math.abs(milliseconds - now) < 12 * HOUR ? formatClock(milliseconds) : formatInstant(milliseconds);
}

const STEPS = [
  ["s", SECOND, [1, 2, 5, 10, 15, 30]],
  ["min", MINUTE, [1, 2, 5, 10, 15, 30]],
  ["h", HOUR, [1, 2, 3, 6, 12]],
  ["d", DAY, [1, 2, 5, 7, 14, 30, 60, 90, 180, 365]],
];

/**
 * The marks of a gauge that shows a life-time: round numbers, at most seven of them.
 *
 * @param {number} life  milliseconds
 * @returns {{unit: string, marks: {label: string, position: number}[]}}
 *   position is the share of the life-time that is left at the mark, 0 to 1
 */
export function gaugeMarks(life) {
  for (const [unit, size, steps] of STEPS) {
    for (const step of steps) {
      const count = Math.floor(life / (step * size));
      if (count <= 6) {
        const marks = Array.from({ length: count + 1 }, (_, index) => ({
          label: String(index * step),
          position: life > 0 ? (index * step * size) / life : 0,
        }));
        return { unit, marks };
      }
    }
  }
  return { unit: "d", marks: [{ label: "0", position: 0 }] };
}
