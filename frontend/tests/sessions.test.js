import assert from "node:assert/strict";
import { test } from "node:test";

import { describeAgent, readSessions } from "../public/assets/js/sessions.js";

const CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

const entry = (id, more = {}) => ({
  id,
  current: false,
  created_at: "2026-11-22T10:00:00Z",
  last_used_at: "2026-11-22T10:05:00Z",
  expires_at: "2026-11-23T10:05:00Z",
  agent: CHROME,
  address: "192.0.2.7",
  ...more,
});

test("a session is read with its times and its visitor", () => {
  const [read] = readSessions({ sessions: [entry("a")] });
  assert.deepEqual(read, {
    id: "a",
    current: false,
    device: "Chrome on Linux",
    address: "192.0.2.7",
    createdAt: Date.UTC(2026, 10, 22, 10, 0),
    lastUsedAt: Date.UTC(2026, 10, 22, 10, 5),
    expiresAt: Date.UTC(2026, 10, 23, 10, 5),
  });
});

test("this session comes first, then the one used last", () => {
  const sessions = [
    entry("old", { last_used_at: "2026-11-20T10:00:00Z" }),
    entry("never", { last_used_at: null }),
    entry("new", { last_used_at: "2026-11-22T10:09:00Z" }),
    entry("mine", { current: true, last_used_at: "2026-11-21T10:00:00Z" }),
  ];
  assert.deepEqual(
    readSessions({ sessions }).map(({ id }) => id),
    ["mine", "new", "old", "never"],
  );
});

test("what cannot be read is left out, and breaks nothing", () => {
  assert.deepEqual(readSessions(null), []);
  assert.deepEqual(readSessions({ sessions: "none" }), []);
  assert.deepEqual(readSessions({ sessions: [null, 5, {}] }), []);
  const [read] = readSessions({ sessions: [{ id: "a", created_at: "yesterday", address: null }] });
  assert.equal(read.createdAt, null);
  assert.equal(read.address, "");
  assert.equal(read.device, "an unnamed program");
});

for (const [agent, words] of [
  [CHROME, "Chrome on Linux"],
  [CHROME.replace("X11; Linux x86_64", "Linux; Android 15; Pixel 9"), "Chrome on Android"],
  [`${CHROME} Edg/142.0`, "Edge on Linux"],
  ["Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0", "Firefox on Windows"],
  ["Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605 Version/19.0 Mobile/15E Safari/604", "Safari on iOS"],
  ["Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/19.0 Safari/605", "Safari on macOS"],
  ["curl/8.14.1", "curl"],
  ["python-httpx/0.28", "a Python program"],
  ["", "an unnamed program"],
  [null, "an unnamed program"],
  ["x".repeat(200), `${"x".repeat(40)}…`],
]) {
  test(`${String(agent).slice(0, 50)} is told as ${words}`, () => assert.equal(describeAgent(agent), words));
}
