import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff, parseRetryAfter } from "../public/assets/js/retry.js";
import { NOON } from "./support.js";

test("the pauses double, up to half a minute", () => {
  const longest = [1, 2, 3, 4, 5, 6, 50].map((attempt) => backoff(attempt, () => 1));
  assert.deepEqual(longest, [2000, 4000, 8000, 16000, 30000, 30000, 30000]);
});

test("half of each pause is chance, so that tabs do not come back in step", () => {
  assert.equal(backoff(3, () => 0), 4000);
  assert.equal(backoff(3, () => 0.5), 6000);
});

for (const [value, wait] of [
  ["42", 42_000],
  [" 0 ", 0],
  ["Sun, 22 Nov 2026 12:01:00 GMT", 60_000],
  ["Sun, 22 Nov 2026 11:00:00 GMT", 0],
  ["", null],
  [null, null],
  ["-5", null],
  ["1.5", null],
  ["soon", null],
]) {
  test(`Retry-After: ${value} means ${wait === null ? "nothing" : `${wait} ms`}`, () => {
    assert.equal(parseRetryAfter(value, NOON), wait);
  });
}
