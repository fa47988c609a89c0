import assert from "node:assert/strict";
import { test } from "node:test";

import { Api } from "../public/assets/js/api.js";
import { compareKeys, describeKey, fetchKeys, readKeySet } from "../public/assets/js/keys.js";
import { ServerClock } from "../public/assets/js/time.js";
import { answer } from "./support.js";

const ED = { kty: "OKP", crv: "Ed25519", kid: "ed1", alg: "EdDSA", use: "sig", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" };
const rsa = (bytes) => Buffer.from(bytes).toString("base64url");
const headers = (kid, alg = "EdDSA") => ({ access: { alg, kid }, refresh: { alg, kid } });

/** A site that publishes these two documents. */
function siteWith(set, discovery) {
  const replies = { "/.well-known/jwks.json": set, "/.well-known/openid-configuration": discovery };
  return new Api(new ServerClock(), async (path) => replies[path]());
}

test("the published keys and the issuer are read", async () => {
  const api = siteWith(
    () => answer(200, { keys: [ED] }),
    () => answer(200, { issuer: "https://slipway.test" }),
  );
  assert.deepEqual(await fetchKeys(api), { keys: [ED], issuer: "https://slipway.test" });
});

test("a site that publishes nothing may say so with 404 or with an empty set", async () => {
  for (const set of [() => answer(404, {}), () => answer(200, { keys: [] })]) {
    const published = await fetchKeys(siteWith(set, () => answer(404, {})));
    assert.deepEqual(published, { keys: [], issuer: null });
  }
});

test("a site that fails is not taken for one that publishes nothing", async () => {
  const failing = siteWith(
    () => answer(503, {}),
    () => answer(200, {}),
  );
  await assert.rejects(fetchKeys(failing), { kind: "server" });
});

for (const [what, body] of [
  ["nothing", null],
  ["a text", "<html>"],
  ["a list", [ED]],
  ["keys that are no list", { keys: ED }],
]) {
  test(`no key is read from ${what}`, () => assert.deepEqual(readKeySet(body), []));
}

test("what is no key among the keys is left out", () => {
  assert.deepEqual(readKeySet({ keys: [null, "k", ED] }), [ED]);
});

for (const [key, words] of [
  [ED, "Ed25519, for EdDSA"],
  [{ kty: "EC", crv: "P-256", alg: "ES256" }, "P-256, for ES256"],
  [{ kty: "RSA", alg: "RS256", n: rsa([0x80, ...Array(383).fill(1)]) }, "RSA, 3072 bits, for RS256"],
  [{ kty: "RSA", n: rsa([0, 0x01, 0xff]) }, "RSA, 9 bits"],
  [{ kty: "RSA", n: "not base64url!" }, "RSA, a size that cannot be read"],
  [{ kty: "RSA", n: "" }, "RSA, no bits"],
  [{ kty: "OKP" }, "a curve without a name"],
  [{ kty: "LWE" }, "of a kind this page does not know"],
]) {
  test(`a key is told as: ${words}`, () => assert.equal(describeKey(key), words));
}

test("the key that signed is marked for each token it signed", () => {
  const next = { ...ED, kid: "ed2" };
  const { state, keys, words } = compareKeys(
    { keys: [ED, next] },
    { access: { alg: "EdDSA", kid: "ed2" }, refresh: { alg: "EdDSA", kid: "ed1" } },
  );
  assert.equal(state, "published");
  assert.match(words, /^2 keys are published/);
  assert.deepEqual(
    keys.map(({ kid, signed }) => [kid, signed]),
    [
      ["ed1", ["refresh"]],
      ["ed2", ["access"]],
    ],
  );
});

test("with a shared secret nothing is published, and that is told plainly", () => {
  const { state, words, keys } = compareKeys({ keys: [] }, headers("s1", "HS256"));
  assert.equal(state, "secret");
  assert.match(words, /HS256: one secret that its servers alone know/);
  assert.match(words, /nobody else can check/);
  assert.deepEqual(keys, []);
});

test("while an algorithm changes, a secret signs and a key is published already", () => {
  const { state, words } = compareKeys({ keys: [ED] }, headers("s1", "HS256"));
  assert.equal(state, "secret");
  assert.match(words, /before or after a change/);
});

test("a key that signs and is not published is a mistake worth a warning", () => {
  assert.equal(compareKeys({ keys: [ED] }, headers("ed9")).state, "missing");
  assert.match(compareKeys({ keys: [] }, headers("ed9")).words, /No key is published, and the one/);
});

test("a key without a name did not sign a token without one", () => {
  const { kid, ...unnamed } = ED;
  assert.equal(compareKeys({ keys: [unnamed] }, headers(undefined)).state, "missing");
});

test("of tokens in cookies the key's name is known, and is enough", () => {
  const unseen = (kid) => ({ access: { kid }, refresh: { kid } });
  assert.equal(compareKeys({ keys: [ED] }, unseen("ed1")).state, "published");
  assert.equal(compareKeys({ keys: [ED] }, unseen("ed9")).state, "missing");
  const { state, words } = compareKeys({ keys: [] }, unseen("s1"));
  assert.equal(state, "secret");
  assert.match(words, /^This site signs with one secret that its servers alone know\. Nothing is published/);
});
