/** The protected view: what was asked, what came back. */

import { explain } from "./api.js";
import { find, make, write } from "./dom.js";

/** Headers of the answer worth a look, where they are there. */
const HEADERS = ["content-type", "date", "x-request-id", "cache-control", "www-authenticate", "retry-after"];

export class CallPanel {
  #root;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
  }

  clear() {
    find("[data-exchange]", this.#root).hidden = true;
    for (const part of ["request", "words", "headers", "body"]) write(find(`[data-${part}]`, this.#root), "");
  }

  /**
   * @param {string | import("./store.js").Unseen} token  which was sent, if this page can see it
   */
  asked(method, path, token) {
    find("[data-exchange]", this.#root).hidden = false;
    find("[data-request]", this.#root).replaceChildren(
      make("b", {}, `${method} ${path}`),
      "\n",
      make("span", { class: "quiet" }, `Host: ${location.host}\n`),
      ...(typeof token === "string"
        ? [make("span", { class: "quiet" }, "Authorization: "), `Bearer ${shorten(token)}`]
        : [make("span", { class: "quiet" }, "Cookie: "), "__Host-slipway-access, which the browser adds unseen"]),
    );
  }

  /**
   * @param {import("./api.js").Answer} answer
   * @param {string} words  what it means, where it is not what was asked for
   */
  answered(answer, words) {
    const good = answer.status < 400;
    const lines = HEADERS.filter((name) => answer.headers.has(name)).map((name) => [
      make("span", { class: "quiet" }, `${name}: `),
      `${answer.headers.get(name)}\n`,
    ]);
    this.#result(good ? "good" : "bad", `${answer.status} ${answer.reason || phrase(answer.status)}`);
    write(find("[data-words]", this.#root), words);
    write(find("[data-latency]", this.#root), `${Math.max(1, Math.round(answer.latency))} ms`);
    find("[data-headers]", this.#root).replaceChildren(...lines.flat());
    write(
      find("[data-body]", this.#root),
      typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body, null, 2),
    );
  }

  /** @param {unknown} error */
  failed(error) {
    const { title, detail } = explain(error);
    this.#result("bad", title);
    write(find("[data-words]", this.#root), detail);
    for (const part of ["latency", "headers", "body"]) write(find(`[data-${part}]`, this.#root), "");
  }

  #result(outcome, text) {
    const status = find("[data-status]", this.#root);
    status.dataset.outcome = outcome;
    write(status, text);
  }
}

function shorten(token) {
  return `${token.slice(0, 12)}…${token.slice(-6)}`;
}

/** HTTP/2 has no reason phrases; these are the ones of RFC 9110 that this page can meet. */
function phrase(status) {
  const phrases = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
  };
  return phrases[status] ?? "";
}
