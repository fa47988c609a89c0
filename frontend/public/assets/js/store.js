/**
 * Where a session lives between two looks at the page.
 *
 * With its tokens in a header: in memory, and in this tab's sessionStorage, so that a reload keeps
 * it and closing the tab ends it. Never in localStorage, where it would outlive the visit. Any script
 * that runs on this page could read either, which is why the page's Content-Security-Policy lets no
 * foreign script in.
 *
 * With its tokens in cookies: the browser has them, for all tabs and until they run out, and no
 * script can read them. What is written down here is only whose session it is and how long it lasts,
 * and in localStorage, because it lasts as long as the cookies do.
 */

const KEY = "slipway.session";

/** How the tokens of a session travel. */
export const TRANSPORT = { header: "header", cookie: "cookie" };

/**
 * What the server tells of a token that this page cannot read.
 *
 * @typedef {object} Unseen
 * @property {string} kid        the name of the key that signed it
 * @property {string} sid        the session it belongs to
 * @property {number} issuedAt   milliseconds since 1970, as the server's clock has it
 * @property {number} expiresAt  milliseconds since 1970, as the server's clock has it
 */

/**
 * @typedef {object} SessionRecord
 * @property {string} id          random, made at log-in; the same through all refreshes
 * @property {number} generation  counts the token pairs of this session, from 1
 * @property {string} username    as it was typed; the server's word is in the token
 * @property {"header" | "cookie"} transport
 * @property {string | Unseen} access   the token itself where it travels in a header
 * @property {string | Unseen} refresh
 * @property {number} offset      the server's clock minus this device's, milliseconds
 */

/**
 * @param {unknown} value
 * @returns {value is SessionRecord}
 */
export function isRecord(value) {
  if (value === null || typeof value !== "object") return false;
  const { id, generation, username, transport, access, refresh, offset } = value;
  const fits = { header: (token) => typeof token === "string", cookie: isUnseen }[transport];
  return (
    fits !== undefined &&
    [access, refresh].every(fits) &&
    [id, username].every((field) => typeof field === "string") &&
    Number.isSafeInteger(generation) &&
    Number.isFinite(offset)
  );
}

/**
 * @param {unknown} value
 * @returns {value is Unseen}
 */
export function isUnseen(value) {
  return (
    value !== null &&
    typeof value === "object" &&
    [value.kid, value.sid].every((name) => typeof name === "string") &&
    [value.issuedAt, value.expiresAt].every((moment) => Number.isFinite(moment))
  );
}

/** The storages of this tab and of the browser; where a browser forbids one, the session is in memory alone. */
export class TabStore {
  #places;

  /**
   * @param {() => Storage} tab      asked anew each time: merely naming it can throw
   * @param {() => Storage} browser
   */
  constructor(tab = () => window.sessionStorage, browser = () => window.localStorage) {
    this.#places = { header: tab, cookie: browser };
  }

  /** @returns {SessionRecord | null} the tab's own before the browser's */
  load() {
    for (const transport of Object.keys(this.#places)) {
      try {
        const value = JSON.parse(this.#places[transport]().getItem(KEY) ?? "null");
        if (isRecord(value) && value.transport === transport) return value;
      } catch {
        // Forbidden, or not ours: then it is not here.
      }
    }
    return null;
  }

  /** @param {SessionRecord} record */
  save(record) {
    try {
      this.#places[record.transport]().setItem(KEY, JSON.stringify(record));
    } catch {
      // Forbidden or full: the session goes on in memory and ends with a reload.
    }
  }

  /** @param {"header" | "cookie"} transport  of the session that ends */
  clear(transport) {
    try {
      this.#places[transport]().removeItem(KEY);
    } catch {
      // What could not be written need not be removed.
    }
  }
}
