/** The logbook: what happened, newest first, in few words; a screen reader reads new lines out. */

import { make } from "./dom.js";
import { formatClock } from "./time.js";

const LONGEST = 60;

export class Logbook {
  #list;
  #clock;

  /**
   * @param {HTMLElement} list
   * @param {import("./time.js").ServerClock} clock  so that entries and tokens tell the same time
   */
  constructor(list, clock) {
    this.#list = list;
    this.#clock = clock;
  }

  /**
   * @param {"good" | "bad" | "note"} kind
   * @param {string} text
   * @param {string} [detail]
   */
  write(kind, text, detail = "") {
    const now = this.#clock.now();
    const time = make("time", { datetime: new Date(now).toISOString() }, formatClock(now));
    const words = make("p", {}, text);
    if (detail !== "") words.append(" ", make("span", { class: "quiet" }, detail));
    this.#list.prepend(make("li", { class: "entry", "data-kind": kind }, time, words));
    while (this.#list.children.length > LONGEST) this.#list.lastElementChild.remove();
  }
}
