/** One token on the page: how long it lasts, how it travels, and what is in it. */

import { find, make, write } from "./dom.js";
import { formatClock, formatCountdown, formatInstant, formatNear, formatSpan, gaugeMarks, roundLife } from "./time.js";
import { describeClaim, formatClaim } from "./token.js";

const PARTS = ["header", "payload", "signature"];

export class TokenCard {
  #life;
  #inside;
  #shown = null;

  /**
   * @param {HTMLElement} life    a section made from the page's token-life template
   * @param {HTMLElement} inside  a section made from the page's token-inside template
   */
  constructor(life, inside) {
    this.#life = life;
    this.#inside = inside;
    find("[data-copy]", inside).addEventListener("click", () => this.#copy());
  }

  /**
   * Show a token. The same token again costs nothing and disturbs nobody who is reading it.
   *
   * @param {import("./token.js").Token} token  of one in a cookie only its life is known
   */
  show(token) {
    if (token === this.#shown || (token.raw !== undefined && token.raw === this.#shown?.raw)) return;
    const replaced = this.#shown !== null;
    this.#shown = token;
    this.#marks(token);
    if (replaced) flash(this.#life);
    if (token.raw === undefined) return;
    for (const part of PARTS) write(find(`[data-raw=${part}]`, this.#inside), token.parts[part]);
    this.#list("header", token.header);
    this.#list("payload", token.payload);
    write(find("[data-signature-size]", this.#inside), `${token.signature.length * 8} bits`);
    write(find("[data-copy]", this.#inside), "Copy");
    if (replaced) flash(this.#inside);
  }

  /** Forget the token, so that nothing of it stays on a page where nobody is logged in. */
  clear() {
    this.#shown = null;
    for (const part of PARTS) write(find(`[data-raw=${part}]`, this.#inside), "");
    for (const list of ["header", "payload"]) find(`[data-claims=${list}]`, this.#inside).replaceChildren();
  }

  /**
   * Let the time run.
   *
   * @param {number} now  milliseconds, the server's
   * @param {number | null} due  when it should be refreshed, if it is a kind that is
   * @param {boolean} automatic  whether it will be, by itself
   */
  tick(now, due, automatic) {
    const { issuedAt, expiresAt } = this.#shown ?? {};
    if (issuedAt == null || expiresAt == null) return;
    const left = expiresAt - now;
    const life = roundLife(expiresAt - issuedAt);
    const over = left <= 0;
    const phase = over ? "over" : due !== null && now >= due ? "due" : "running";
    this.#life.dataset.phase = phase;
    write(find("[data-left]", this.#life), formatCountdown(left));
    write(find("[data-of]", this.#life), over ? "it has run out" : `left of ${formatSpan(life)}`);
    find("[data-gauge]", this.#life).style.setProperty(
      "--level",
      String(Math.min(1, Math.max(0, left / life))),
    );
    const times = [`issued ${formatClock(issuedAt)}`];
    if (automatic) times.push(`refreshes itself at ${formatClock(due)}`);
    times.push(`${over ? "ran" : "runs"} out ${formatNear(expiresAt, now)}`);
    write(find("[data-times]", this.#life), times.join(" · "));
    const mark = find("[data-due]", this.#life);
    mark.toggleAttribute("hidden", !automatic);
    if (automatic) mark.style.setProperty("--at", String((expiresAt - due) / life));
  }

  #list(name, claims) {
    const rows = Object.entries(claims).map(([claim, value]) =>
      make(
        "div",
        { class: "claim" },
        make("dt", { class: "claim__name" }, claim),
        make("dd", { class: "claim__value" }, formatClaim(value)),
        make("dd", { class: "claim__meaning" }, describeClaim(claim, value, formatInstant)),
      ),
    );
    find(`[data-claims=${name}]`, this.#inside).replaceChildren(...rows);
  }

  #marks({ issuedAt, expiresAt }) {
    const scale = find("[data-scale]", this.#life);
    if (issuedAt === null || expiresAt === null) {
      scale.replaceChildren();
      return;
    }
    const { unit, marks } = gaugeMarks(roundLife(expiresAt - issuedAt));
    scale.replaceChildren(
      ...marks.map(({ label, position }, index) => {
        const mark = make("span", { class: "gauge__mark" }, index === 0 ? `0 ${unit}` : label);
        mark.style.setProperty("--at", String(position));
        return mark;
      }),
    );
  }

  async #copy() {
    const button = find("[data-copy]", this.#inside);
    try {
      await navigator.clipboard.writeText(this.#shown.raw);
      write(button, "Copied");
    } catch {
      // Forbidden by a policy or by the person: then the text is marked, ready for the keyboard.
      getSelection().selectAllChildren(find("[data-token]", this.#inside));
      write(button, "Marked: copy it by keyboard");
    }
    setTimeout(() => write(button, "Copy"), 4000);
  }
}

function flash(element) {
  element.classList.remove("is-new");
  // Reading a measure makes the browser forget the finished animation, so that it can run again.
  element.getBoundingClientRect();
  element.classList.add("is-new");
}
