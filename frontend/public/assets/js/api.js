/**
 * The API, spoken to with fetch: one function for a request, one error for everything that can fail.
 *
 * The server describes its refusals as problem details (RFC 9457).
 */

import { parseRetryAfter } from "./retry.js";
import { formatSpan } from "./time.js";

const TIMEOUT = 15_000;

/** Django's name for the cookie whose value a page of the same site repeats in a header. */
const CSRF_COOKIE = "csrftoken";

/**
 * @typedef {object} Answer
 * @property {string} method
 * @property {string} path
 * @property {number} status
 * @property {string} reason     the reason phrase, empty under HTTP/2
 * @property {Headers} headers
 * @property {unknown} body      the decoded JSON, the text, or null when there is none
 * @property {number} latency    milliseconds, from sending to the last byte
 * @property {string | null} requestId
 */

/**
 * Why a request did not do what it was sent for.
 *
 * kind is one of
 *   offline     nothing came back: no network, no name, no server, a certificate refused
 *   timeout     the server took too long
 *   refused     401 or 403: the credentials or the token do not open this
 *   throttled   429: too often; `retryAfter` says how long to wait
 *   server      5xx: the server failed, or is being worked on
 *   unexpected  anything else
 */
export class ApiError extends Error {
  name = "ApiError";

  /**
   * @param {string} kind
   * @param {{answer?: Answer, retryAfter?: number | null, cause?: unknown}} facts
   */
  constructor(kind, { answer, retryAfter = null, cause } = {}) {
    super(answer ? `${kind}: ${answer.status}` : kind, { cause });
    this.kind = kind;
    this.answer = answer ?? null;
    this.retryAfter = retryAfter;
    const problem = /** @type {Record<string, unknown>} */ (
      answer?.body !== null && typeof answer?.body === "object" ? answer.body : {}
    );
    this.title = text(problem.title);
    this.detail = text(problem.detail);
    /** A word for programs, which stays the same when the sentences change. */
    this.code = text(problem.code);
    this.requestId = answer?.requestId ?? text(problem.request_id) ?? null;
  }

  /** Whether the same request may well succeed a little later. */
  get passing() {
    return ["offline", "timeout", "throttled", "server"].includes(this.kind);
  }
}

function text(value) {
  return typeof value === "string" && value.trim() !== "" ? value : null;
}

/** Problem details end without a full stop as often as with one. */
function sentence(words) {
  return /[.!?]$/.test(words.trim()) ? words.trim() : `${words.trim()}.`;
}

/**
 * Say in plain words what failed and what to do about it.
 *
 * @param {unknown} error
 * @param {{refused?: {title: string, detail: string}}} words  what a refusal means where it happened
 * @returns {{title: string, detail: string}}
 */
export function explain(error, { refused } = {}) {
  if (!(error instanceof ApiError)) {
    return { title: "This page made a mistake.", detail: `${error}` };
  }
  const reference = error.requestId === null ? "" : ` Request id: ${error.requestId}.`;
  const status = error.answer?.status;
  switch (error.kind) {
    case "offline":
      return {
        title: "The server cannot be reached.",
        detail: "Nothing came back. Check this device's connection, then try again.",
      };
    case "timeout":
      return {
        title: "The server did not answer in time.",
        detail: `It was given ${formatSpan(TIMEOUT)}. Try again in a moment.`,
      };
    case "refused":
      return (
        refused ?? {
          title: sentence(error.title ?? "Refused"),
          detail: `${error.detail === null ? "" : sentence(error.detail)}${reference}`.trim(),
        }
      );
    case "throttled":
      return {
        title: "Too many attempts.",
        detail:
          error.retryAfter === null
            ? `The server asks for a pause. Wait a minute, then try again.${reference}`
            : `The server asks for a pause. Try again in ${formatSpan(error.retryAfter)}.${reference}`,
      };
    case "server":
      return {
        title:
          status === 503 ? "The service is not available right now." : `The server failed (${status}).`,
        detail:
          (error.retryAfter === null ? "Try again in a moment." : `Try again in ${formatSpan(error.retryAfter)}.`) +
          (reference || " It gave no request id."),
      };
    default:
      return {
        title: sentence(error.title ?? `An answer nobody expected${status === undefined ? "" : ` (${status})`}`),
        detail: `${sentence(error.detail ?? "The server's answer does not fit this page")}${reference}`,
      };
  }
}

/** The server of this page. */
export class Api {
  #clock;
  #fetch;
  #cookies;

  /**
   * @param {import("./time.js").ServerClock} clock  learns the time from every answer
   * @param {typeof fetch} fetcher
   * @param {() => string} cookies  those that a script may read, as document.cookie has them
   */
  constructor(clock, fetcher = (...request) => fetch(...request), cookies = () => document.cookie) {
    this.#clock = clock;
    this.#fetch = fetcher;
    this.#cookies = cookies;
  }

  /**
   * Send one request and give back its answer, whatever the status.
   *
   * @param {string} method
   * @param {string} path
   * @param {{json?: unknown, token?: string, cookies?: boolean}} content  cookies: let the browser
   *   send the site's and take new ones
   * @returns {Promise<Answer>}
   * @throws {ApiError} of kind offline or timeout when there is no answer
   */
  async send(method, path, { json, token, cookies = false } = {}) {
    const headers = { Accept: "application/json, application/problem+json" };
    if (json !== undefined) headers["Content-Type"] = "application/json";
    if (token !== undefined) headers.Authorization = `Bearer ${token}`;
    // A cookie goes along whoever caused the request; that this page did is what the header proves.
    const proof = cookies && method !== "GET" ? readCookie(this.#cookies(), CSRF_COOKIE) : null;
    if (proof !== null) headers["X-CSRFToken"] = proof;
    const sent = Date.now();
    const started = performance.now();
    let response;
    let content;
    try {
      response = await this.#fetch(path, {
        method,
        headers,
        body: json === undefined ? undefined : JSON.stringify(json),
        cache: "no-store",
        // Where a bearer token is the only credential, no cookie, such as the admin's, must ride along.
        credentials: cookies ? "same-origin" : "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
        signal: AbortSignal.timeout(TIMEOUT),
      });
      this.#clock.observe(response.headers.get("date"), sent, Date.now());
      content = await response.text();
    } catch (cause) {
      throw new ApiError(cause?.name === "TimeoutError" ? "timeout" : "offline", { cause });
    }
    return {
      method,
      path,
      status: response.status,
      reason: response.statusText,
      headers: response.headers,
      body: decodeBody(content, response.headers.get("content-type") ?? ""),
      latency: performance.now() - started,
      requestId: response.headers.get("x-request-id"),
    };
  }

  /**
   * Send one request that has to succeed.
   *
   * @returns {Promise<Answer>} with a status from 200 to 299
   * @throws {ApiError}
   */
  async call(method, path, content = {}) {
    const answer = await this.send(method, path, content);
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw this.refusal(answer);
  }

  /**
   * The error that an answer stands for.
   *
   * @param {Answer} answer
   * @returns {ApiError}
   */
  refusal(answer) {
    const retryAfter = parseRetryAfter(answer.headers.get("retry-after"), this.#clock.now());
    let kind = "unexpected";
    if (answer.status === 401 || answer.status === 403) kind = "refused";
    else if (answer.status === 429) kind = "throttled";
    else if (answer.status >= 500) kind = "server";
    return new ApiError(kind, { answer, retryAfter });
  }
}

/**
 * @param {string} cookies  as document.cookie has them
 * @param {string} name
 * @returns {string | null}
 */
export function readCookie(cookies, name) {
  for (const pair of cookies.split(";")) {
    const [key, ...value] = pair.trim().split("=");
    if (key === name) return value.join("=");
  }
  return null;
}

function decodeBody(content, type) {
  if (content === "") return null;
  if (!/[/+]json\b/.test(type)) return content;
  try {
    return JSON.parse(content);
  } catch {
    return content;
  }
}
