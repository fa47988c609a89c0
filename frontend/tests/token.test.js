import assert from "node:assert/strict";
import { test } from "node:test";

import { TokenError, decodeBase64Url, decodeToken, describeClaim, formatClaim, numericDate } from "../public/assets/js/token.js";
import { token } from "./support.js";

/** The example of RFC 7519, section 3.1. */
const RFC =
  "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" +
  ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ" +
  ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

test("the RFC's own example comes apart into header, payload and signature", () => {
  const { header, payload, signature, expiresAt, issuedAt } = decodeToken(RFC);
  assert.deepEqual(header, { typ: "JWT", alg: "HS256" });
  assert.deepEqual(payload, { iss: "joe", exp: 1300819380, "http://example.com/is_root": true });
  assert.equal(signature.length, 32);
  assert.equal(signature[0], 116);
  assert.equal(expiresAt, 1300819380000);
  assert.equal(issuedAt, null);
});

test("claims in other scripts stay what they are", () => {
  assert.equal(decodeToken(token({ name: "Zoë 船 🚢" })).payload.name, "Zoë 船 🚢");
});

const part = (text) => Buffer.from(text).toString("base64url");
const head = part('{"alg":"HS256"}');

for (const [what, raw] of [
  ["nothing", ""],
  ["no text", null],
  ["two parts", `${head}.${head}`],
  ["five parts, as an encrypted token has", "a.b.c.d.e"],
  ["a header that is no base64url", `e+J9.${head}.AA`],
  ["padding", `${head}=.${head}.AA`],
  ["a payload that is no JSON", `${head}.${part("{")}.AA`],
  ["a payload that is a list", `${head}.${part("[1]")}.AA`],
  ["a payload that is null", `${head}.${part("null")}.AA`],
  ["a payload that is no UTF-8", `${head}.${Buffer.from('{"a":"\xff"}', "latin1").toString("base64url")}.AA`],
  ["a signature of an impossible length", `${head}.${head}.AAAAA`],
]) {
  test(`refused as a token: ${what}`, () => {
    assert.throws(() => decodeToken(raw), TokenError);
  });
}

test("an empty signature is read, so that an unsigned token can be shown for what it is", () => {
  const unsigned = token({}, { alg: "none" }).replace(/[^.]*$/, "");
  assert.equal(decodeToken(unsigned).signature.length, 0);
  assert.match(describeClaim("alg", "none", String), /not signed/);
});

test("base64url is not base64", () => {
  assert.deepEqual([...decodeBase64Url("_-8")], [0xff, 0xef]);
  assert.throws(() => decodeBase64Url("/+8"), TokenError);
});

for (const value of ["1300819380", null, undefined, Number.NaN, Infinity, 1e300, {}]) {
  test(`${String(value)} (${typeof value}) is no date`, () => {
    assert.equal(numericDate(value), null);
  });
}

test("claims are told in words", () => {
  const at = (milliseconds) => `at ${milliseconds}`;
  assert.equal(describeClaim("exp", 5, at), "runs out at 5000");
  assert.equal(describeClaim("iat", 5, at), "issued at 5000");
  assert.match(describeClaim("exp", "soon", at), /cannot be read/);
  assert.match(describeClaim("token_type", "refresh", at), /once/);
  assert.match(describeClaim("alg", "EdDSA", at), /Ed25519/);
  assert.match(describeClaim("alg", "RS512", at), /public key/);
  assert.match(describeClaim("department", "keel", at), /this site's own/);
});

test("a claim's value is shown as it is written", () => {
  assert.equal(formatClaim("ada"), "ada");
  assert.equal(formatClaim(5), "5");
  assert.equal(formatClaim(["a", "b"]), '["a","b"]');
  assert.equal(formatClaim(null), "null");
});
