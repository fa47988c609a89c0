import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ServerClock,
  formatCountdown,
  formatNear,
  formatSpan,
  gaugeMarks,
  refreshDue,
  roundLife,
} from "../public/assets/js/time.js";
import { NOON, Watch } from "./support.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

for (const [life, due, why] of [
  [300, 240, "four fifths of five minutes come before its last half minute"],
  [3600, 2880, "four fifths of an hour"],
  [100, 70, "half a minute before the end comes before four fifths"],
  [60, 30, "a minute leaves half of it"],
  [20, 10, "however short, never before half its life"],
  [0, 0, "no life at all"],
]) {
  test(`a token of ${life} s is refreshed after ${due} s: ${why}`, () => {
    assert.equal(refreshDue(NOON, NOON + life * 1000), NOON + due * 1000);
  });
}

test("a token that ends before it begins is due at once", () => {
  assert.equal(refreshDue(NOON, NOON - 5000), NOON);
});

test("the server's time is known from its Date header, whatever the device's clock says", () => {
  const watch = new Watch(NOON + 3 * HOUR);
  const clock = new ServerClock(watch.read);
  assert.equal(clock.observe(new Date(NOON).toUTCString(), watch.time - 100, watch.time + 100), true);
  assert.ok(Math.abs(clock.now() - NOON) <= 500);
  watch.pass(10_000);
  assert.ok(Math.abs(clock.now() - (NOON + 10_000)) <= 500);
});

test("what lies within a second and a half is not taken for news", () => {
  const clock = new ServerClock(() => NOON);
  assert.equal(clock.observe(NOON - 1000, NOON, NOON), false);
  assert.equal(clock.offset, 0);
});

test("a device that slept while it waited for an answer has learnt nothing of the time", () => {
  for (const [sent, received] of [
    [NOON, NOON + 2 * HOUR],
    [NOON - 2 * HOUR, NOON],
  ]) {
    const clock = new ServerClock(() => NOON);
    assert.equal(clock.observe(NOON, sent, received), false);
    assert.equal(clock.offset, 0);
  }
});

test("a clock that is further off than an answer took is known to be", () => {
  const clock = new ServerClock(() => NOON + 3 * HOUR);
  assert.equal(clock.observe(NOON, NOON + 3 * HOUR - 20_000, NOON + 3 * HOUR), true);
  assert.ok(Math.abs(clock.now() - NOON) <= 11_000);
});

test("a clock that was put right is believed again", () => {
  const watch = new Watch(NOON + HOUR);
  const clock = new ServerClock(watch.read);
  clock.observe(NOON, watch.time, watch.time);
  watch.time = NOON;
  clock.observe(NOON, watch.time, watch.time);
  assert.equal(clock.offset, 0);
});

for (const date of [null, "", "yesterday", Number.NaN]) {
  test(`a date of ${JSON.stringify(date)} teaches nothing`, () => {
    const clock = new ServerClock(() => NOON);
    assert.equal(clock.observe(date, NOON, NOON), false);
    assert.equal(clock.now(), NOON);
  });
}

for (const [milliseconds, shown] of [
  [300_000, "5:00"],
  [249_001, "4:10"],
  [249_000, "4:09"],
  [999, "0:01"],
  [0, "0:00"],
  [-5_000, "0:00"],
  [24 * HOUR - 2000, "23:59:58"],
  [6 * 24 * HOUR + 4 * HOUR, "6 d 04:00:00"],
]) {
  test(`${milliseconds} ms are shown as ${shown}`, () => {
    assert.equal(formatCountdown(milliseconds), shown);
  });
}

for (const [milliseconds, words] of [
  [0, "0 seconds"],
  [1_000, "1 second"],
  [300_000, "5 minutes"],
  [249_000, "4 minutes 9 seconds"],
  [24 * HOUR, "1 day"],
  [25 * HOUR + 1000, "1 day 1 hour"],
  [HOUR + 1000, "1 hour"],
]) {
  test(`${milliseconds} ms are told as ${words}`, () => {
    assert.equal(formatSpan(milliseconds), words);
  });
}

test("a life-time that two readings of a clock have bent is told as it was meant", () => {
  assert.equal(roundLife(299_000), 300_000);
  assert.equal(roundLife(301_000), 300_000);
  assert.equal(roundLife(297_000), 297_000);
  assert.equal(roundLife(5_000), 5_000);
});

test("a moment far away has its date", () => {
  assert.match(formatNear(NOON, NOON + HOUR), /^\d\d:\d\d:\d\d$/);
  assert.match(formatNear(NOON + 24 * HOUR, NOON), /2026/);
});

for (const [life, unit, labels] of [
  [5 * MINUTE, "min", "0 1 2 3 4 5"],
  [24 * HOUR, "h", "0 6 12 18 24"],
  [HOUR, "min", "0 10 20 30 40 50 60"],
  [20_000, "s", "0 5 10 15 20"],
  [14 * 24 * HOUR, "d", "0 5 10"],
]) {
  test(`a gauge of ${formatSpan(life)} is marked ${labels} ${unit}`, () => {
    const gauge = gaugeMarks(life);
    assert.equal(gauge.unit, unit);
    assert.equal(gauge.marks.map(({ label }) => label).join(" "), labels);
    assert.ok(gauge.marks.every(({ position }) => position >= 0 && position <= 1));
  });
}

test("a gauge of ten years or of nothing has few marks too", () => {
  assert.ok(gaugeMarks(3650 * 24 * HOUR).marks.length <= 11);
  assert.equal(gaugeMarks(0).marks.length, 1);
});
