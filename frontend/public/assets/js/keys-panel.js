/** The keys: which one signed, which ones the site publishes. */

import { explain } from "./api.js";
import { find, make, write } from "./dom.js";
import { compareKeys, fetchKeys } from "./keys.js";

const SIGNED = { access: "signed your access token", refresh: "signed your refresh token" };

export class KeysPanel {
  #root;
  #api;
  #headers = null;
  #published = null;

  /**
   * @param {HTMLElement} root
   * @param {import("./api.js").Api} api
   */
  constructor(root, api) {
    this.#root = root;
    this.#api = api;
    find("[data-look]", root).addEventListener("click", () => this.look());
  }

  /**
   * Show which key signed these tokens.
   *
   * @param {Record<string, {kid?: unknown, alg?: unknown}>} headers  of the tokens by name
   */
  show(headers) {
    this.#headers = headers;
    const { kid, alg } = headers.access;
    write(find("[data-kid]", this.#root), typeof kid === "string" && kid !== "" ? kid : "without a name");
    write(find("[data-alg]", this.#root), alg === undefined ? "" : `, by ${alg}`);
    this.#render();
  }

  /** Ask the site which keys it publishes. */
  async look() {
    const button = find("[data-look]", this.#root);
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      this.#published = await fetchKeys(this.#api);
      this.#render();
    } catch (error) {
      const { title, detail } = explain(error);
      this.#say("bad", `The site's keys could not be read. ${title} ${detail}`);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }

  clear() {
    this.#published = null;
    this.#headers = null;
    for (const part of ["kid", "alg", "words", "issuer"]) write(find(`[data-${part}]`, this.#root), "");
    find("[data-list]", this.#root).replaceChildren();
  }

  #render() {
    if (this.#published === null || this.#headers === null) return;
    const { state, words, keys } = compareKeys(this.#published, this.#headers);
    this.#say(state === "missing" ? "warn" : "note", words);
    const { issuer } = this.#published;
    write(find("[data-issuer]", this.#root), issuer === null ? "" : `The tokens name ${issuer} as their issuer.`);
    find("[data-list]", this.#root).replaceChildren(...keys.map(row));
  }

  #say(kind, words) {
    const place = find("[data-words]", this.#root);
    place.dataset.kind = kind;
    write(place, words);
  }
}

function row({ kid, kind, signed }) {
  const marks = signed.map((name) => make("span", { class: "mark" }, SIGNED[name] ?? name));
  if (marks.length === 0) marks.push(make("span", { class: "quiet" }, "accepted; signed neither of your tokens"));
  return make(
    "li",
    { class: "item", "data-kid": kid },
    make("p", { class: "item__name mono" }, kid === "" ? "a key without a name" : kid),
    make("p", { class: "quiet" }, kind),
    make("p", { class: "item__marks" }, ...marks),
  );
}
