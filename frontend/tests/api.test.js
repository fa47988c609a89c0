import assert from "node:assert/strict";
import { test } from "node:test";

import { Api, ApiError, explain, readCookie } from "../public/assets/js/api.js";
import { ServerClock } from "../public/assets/js/time.js";
import { answer } from "./support.js";

function apiThat(respond, cookies = "") {
  const requests = [];
  const clock = new ServerClock();
  const api = new Api(
    clock,
    async (path, options) => {
      requests.push({ path, ...options });
      return respond();
    },
    () => cookies,
  );
  return { api, clock, requests };
}

async function failureOf(respond) {
  const { api } = apiThat(respond);
  try {
    await api.call("GET", "/hello/");
  } catch (error) {
    return error;
  }
  throw new Error("It did not fail.");
}

test("a request carries its token and JSON, no cookies, and nothing from a cache", async () => {
  const { api, requests } = apiThat(() => answer(200, { ok: true }, { "x-request-id": "r1" }));
  const received = await api.call("POST", "/x/", { json: { a: 1 }, token: "abc" });
  assert.deepEqual(received.body, { ok: true });
  assert.equal(received.requestId, "r1");
  const [request] = requests;
  assert.equal(request.headers.Authorization, "Bearer abc");
  assert.equal(request.headers["Content-Type"], "application/json");
  assert.equal(request.body, '{"a":1}');
  assert.equal(request.credentials, "omit");
  assert.equal(request.cache, "no-store");
});

test("a request with cookies proves that this page sent it, and only one that changes something has to", async () => {
  const { api, requests } = apiThat(() => answer(200, {}), "theme=dark; csrftoken=abc=; other=1");
  await api.send("POST", "/x/", { json: {}, cookies: true });
  await api.send("GET", "/x/", { cookies: true });
  await api.send("POST", "/x/", { json: {} });
  assert.deepEqual(
    requests.map(({ credentials, headers }) => [credentials, headers["X-CSRFToken"]]),
    [
      ["same-origin", "abc="],
      ["same-origin", undefined],
      ["omit", undefined],
    ],
  );
});

test("a cookie is found by its whole name", () => {
  assert.equal(readCookie("xcsrftoken=1; csrftoken=2", "csrftoken"), "2");
  assert.equal(readCookie("csrftokenx=1", "csrftoken"), null);
  assert.equal(readCookie("", "csrftoken"), null);
});

test("a refusal's word for programs is kept", async () => {
  const error = await failureOf(() => answer(401, { title: "Unauthorized", code: "session_ended" }));
  assert.equal(error.code, "session_ended");
});

test("every answer tells the time", async () => {
  const { api, clock } = apiThat(() =>
    answer(200, {}, { date: new Date(Date.now() - 3_600_000).toUTCString() }),
  );
  await api.send("GET", "/");
  assert.ok(Math.abs(clock.offset + 3_600_000) < 2000);
});

test("no answer is told as a server out of reach", async () => {
  const error = await failureOf(() => {
    throw new TypeError("Failed to fetch");
  });
  assert.equal(error.kind, "offline");
  assert.ok(error.passing);
  assert.match(explain(error).title, /cannot be reached/);
});

test("an answer that does not come in time is told as such", async () => {
  const error = await failureOf(() => {
    throw new DOMException("late", "TimeoutError");
  });
  assert.equal(error.kind, "timeout");
  assert.match(explain(error).title, /in time/);
});

test("a refusal is told in the server's words, with its request id", async () => {
  const error = await failureOf(() =>
    answer(403, { title: "Forbidden", detail: "Not for you", status: 403, request_id: "r403" }),
  );
  assert.equal(error.kind, "refused");
  assert.equal(error.passing, false);
  assert.deepEqual(explain(error), { title: "Forbidden.", detail: "Not for you. Request id: r403." });
});

test("where the page knows better what a refusal means, it says that", async () => {
  const error = await failureOf(() => answer(401, { detail: "No active account" }));
  const words = { title: "Wrong password.", detail: "Try again." };
  assert.deepEqual(explain(error, { refused: words }), words);
});

test("too many attempts: the pause the server asks for is told", async () => {
  const error = await failureOf(() => answer(429, { title: "Too Many Requests" }, { "retry-after": "42" }));
  assert.equal(error.kind, "throttled");
  assert.equal(error.retryAfter, 42_000);
  assert.match(explain(error).detail, /in 42 seconds/);
});

test("too many attempts with no pause named", async () => {
  const error = await failureOf(() => answer(429));
  assert.equal(error.retryAfter, null);
  assert.match(explain(error).detail, /Wait a minute/);
});

test("a server's failure is told with the id an operator can look for", async () => {
  const error = await failureOf(() => answer(500, { title: "Internal Server Error" }, { "x-request-id": "r500" }));
  assert.equal(error.kind, "server");
  assert.match(explain(error).title, /failed \(500\)/);
  assert.match(explain(error).detail, /Request id: r500\./);
});

test("maintenance is told as such", async () => {
  const error = await failureOf(() => answer(503, null, { "retry-after": "120" }));
  assert.match(explain(error).title, /not available/);
  assert.match(explain(error).detail, /2 minutes/);
});

test("a proxy's HTML in place of JSON breaks nothing", async () => {
  const error = await failureOf(
    () => new Response("<h1>Bad Gateway</h1>", { status: 502, headers: { "content-type": "text/html" } }),
  );
  assert.equal(error.kind, "server");
  assert.equal(error.title, null);
});

test("JSON that is none is kept as text", async () => {
  const { api } = apiThat(() => new Response("{", { headers: { "content-type": "application/json" } }));
  assert.equal((await api.call("GET", "/")).body, "{");
});

test("what is no failure of the API is not dressed up as one", () => {
  assert.match(explain(new TypeError("x is not a function")).title, /This page made a mistake/);
  assert.ok(new ApiError("offline") instanceof Error);
});
