/** The sessions of this person: this one, the others with a way to end each, and a way to end all. */

import { ApiError, explain } from "./api.js";
import { find, make, write } from "./dom.js";
import { readSessions } from "./sessions.js";
import { formatNear } from "./time.js";

export class SessionsPanel {
  #root;
  #session;
  #clock;
  #logbook;

  /**
   * @param {HTMLElement} root
   * @param {import("./session.js").Session} session
   * @param {import("./time.js").ServerClock} clock
   * @param {import("./logbook.js").Logbook} logbook
   */
  constructor(root, session, clock, logbook) {
    this.#root = root;
    this.#session = session;
    this.#clock = clock;
    this.#logbook = logbook;
    find("[data-look]", root).addEventListener("click", () => this.#once("[data-look]", () => this.look()));
    find("[data-everywhere]", root).addEventListener("click", () =>
      this.#once("[data-everywhere]", () => session.logOutEverywhere()),
    );
  }

  /** Ask the server for the list. A session that has ended is told by the session itself. */
  async look() {
    try {
      const answer = await this.#session.call("GET", "/api/token/sessions/");
      this.#show(readSessions(answer.body));
      this.#say("");
    } catch (error) {
      this.#fail("Your sessions could not be listed.", error);
    }
  }

  clear() {
    this.#say("");
    write(find("[data-family]", this.#root), "");
    find("[data-list]", this.#root).replaceChildren();
  }

  #show(sessions) {
    const current = sessions.find((session) => session.current);
    write(find("[data-family]", this.#root), current?.id ?? this.#session.family ?? "unknown");
    find("[data-list]", this.#root).replaceChildren(...sessions.map((session) => this.#row(session)));
  }

  #row(listed) {
    const now = this.#clock.now();
    const place = listed.address === "" ? "" : ` from ${listed.address}`;
    const times = [
      ["began", listed.createdAt],
      ["last used", listed.lastUsedAt],
      ["runs out", listed.expiresAt],
    ]
      .filter(([, at]) => at !== null)
      .map(([word, at]) => `${word} ${formatNear(at, now)}`);
    const words = make(
      "div",
      {},
      make("p", { class: "item__name" }, listed.current ? `This session: ${listed.device}${place}` : `${listed.device}${place}`),
      make("p", { class: "quiet" }, times.join(" · ")),
      make("p", { class: "quiet mono" }, listed.id),
    );
    const row = make("li", { class: "item item--row", "data-session": listed.id }, words);
    if (!listed.current) {
      const end = make(
        "button",
        { class: "button", type: "button" },
        "End this one",
        make("span", { class: "unseen" }, ` of ${listed.device}${place}`),
      );
      end.addEventListener("click", () => this.#end(listed, end));
      row.append(end);
    }
    return row;
  }

  async #end(listed, button) {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      await this.#session.call("DELETE", `/api/token/sessions/${encodeURIComponent(listed.id)}/`);
    } catch (error) {
      // Somebody else has ended it meanwhile: then it is as it was wished.
      if (!(error instanceof ApiError) || error.answer?.status !== 404) {
        this.#fail("That session could not be ended.", error);
        button.removeAttribute("aria-disabled");
        return;
      }
    }
    this.#logbook.write("good", "Another session ended.", `${listed.device}: neither of its tokens is accepted any more.`);
    await this.look();
    if (!this.#session.loggedIn) return;
    this.#say(`Ended: ${listed.device}. Whoever uses it is asked to log in again.`);
    // The button is gone, and the keyboard's place with it.
    find("h2", this.#root).focus();
  }

  async #once(selector, work) {
    const button = find(selector, this.#root);
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      await work();
    } catch (error) {
      this.#fail("That did not work.", error);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }

  #fail(what, error) {
    if (!this.#session.loggedIn) return;
    const { title, detail } = explain(error);
    this.#say(`${what} ${title} ${detail}`, "bad");
  }

  #say(words, kind = "good") {
    const box = find("[data-said]", this.#root);
    box.dataset.kind = kind;
    box.hidden = words === "";
    write(box, words);
  }
}
