/**
 * Where a session lives between two looks at the page.
 *
 * In memory, and in this tab's sessionStorage, so that a reload keeps it and closing the tab ends
 * it. Never in localStorage, where it would outlive the visit. Any script that runs on this page
 * could read either, which is why the page's Content-Security-Policy lets no foreign script in.
 */

const KEY = "slipway.session";

/**
 * @typedef {object} SessionRecord
 * @property {string} id          random, made at log-in; the same through all refreshes
 * @property {number} generation  counts the token pairs of this session, from 1
 * @property {string} username    as it was typed; the server's word is in the token
 * @property {string} access
 * @property {string} refresh
 * @property {number} offset      the server's clock minus this device's, milliseconds
 */

/**
 * @param {unknown} value
 * @returns {value is SessionRecord}
 */
export function isRecord(value) {
  if (value === null || typeof value !== "object") return false;
  const { id, generation, username, access, refresh, offset } = value;
  return (
    [id, username, access, refresh].every((field) => typeof field === "string") &&
    Number.isSafeInteger(generation) &&
    Number.isFinite(offset)
  );
}

/** This tab's sessionStorage; where a browser forbids it, the session is in memory alone. */
export class TabStore {
  #storage;

  /** @param {() => Storage} storage  asked anew each time: merely naming it can throw */
  constructor(storage = () => window.sessionStorage) {
    this.#storage = storage;
  }

  /** @returns {SessionRecord | null} */
  load() {
    try {
      const value = JSON.parse(this.#storage().getItem(KEY) ?? "null");
      return isRecord(value) ? value : null;
    } catch {
      return null;
    }
  }

  /** @param {SessionRecord} record */
  save(record) {
    try {
      this.#storage().setItem(KEY, JSON.stringify(record));
    } catch {
      // Forbidden or full: the session goes on in memory and ends with a reload.
    }
  }

  clear() {
    try {
      this.#storage().removeItem(KEY);
    } catch {
      // What could not be written need not be removed.
    }
  }
}
