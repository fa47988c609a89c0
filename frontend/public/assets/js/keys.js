/**
 * Which keys the site publishes, and which of them signed what this page holds (RFC 7517, JWK Set).
 *
 * Looking is all that a page can do with a key here: the server decides whether it accepts a token.
 * What another service needs, so that it can check our tokens, is exactly what is looked at.
 */

import { decodeBase64Url } from "./token.js";

const KEY_SET = "/.well-known/jwks.json";
const DISCOVERY = "/.well-known/openid-configuration";

/**
 * @typedef {object} Key
 * @property {string} kid     empty when the key has no name
 * @property {string} kind    in words
 * @property {string[]} signed  which of our tokens: "access", "refresh"
 *
 * @typedef {object} Published
 * @property {Record<string, unknown>[]} keys  JWKs, public ones
 * @property {string | null} issuer
 */

/**
 * Ask the site for its keys. A site that publishes none answers 404, or with an empty set.
 *
 * @param {import("./api.js").Api} api
 * @returns {Promise<Published>}
 * @throws {import("./api.js").ApiError}
 */
export async function fetchKeys(api) {
  const [set, discovery] = await Promise.all([api.send("GET", KEY_SET), api.send("GET", DISCOVERY)]);
  for (const answer of [set, discovery]) {
    if (answer.status !== 404 && answer.status >= 400) throw api.refusal(answer);
  }
  const issuer = discovery.status === 200 ? discovery.body?.issuer : null;
  return { keys: readKeySet(set.body), issuer: typeof issuer === "string" && issuer !== "" ? issuer : null };
}

/**
 * @param {unknown} body  a JWK Set, or something else
 * @returns {Record<string, unknown>[]}
 */
export function readKeySet(body) {
  const keys = /** @type {{keys?: unknown}} */ (body ?? {}).keys;
  return Array.isArray(keys) ? keys.filter((key) => key !== null && typeof key === "object") : [];
}

/**
 * The name of a key and its kind in words: `Ed25519, for EdDSA`.
 *
 * @param {Record<string, unknown>} key  a JWK
 * @returns {string}
 */
export function describeKey(key) {
  const use = typeof key.alg === "string" ? `, for ${key.alg}` : "";
  switch (key.kty) {
    case "RSA":
      return `RSA, ${bitsOf(key.n)}${use}`;
    case "EC":
    case "OKP":
      return `${typeof key.crv === "string" ? key.crv : "a curve without a name"}${use}`;
    default:
      return `of a kind this page does not know${use}`;
  }
}

function bitsOf(modulus) {
  try {
    const bytes = decodeBase64Url(String(modulus));
    const first = bytes.findIndex((byte) => byte !== 0);
    return first < 0 ? "no bits" : `${(bytes.length - first) * 8 - Math.clz32(bytes[first]) + 24} bits`;
  } catch {
    return "a size that cannot be read";
  }
}

/**
 * Hold the published keys against the tokens of this session.
 *
 * @param {Published} published
 * @param {Record<string, {kid?: unknown, alg?: unknown}>} headers  of the tokens by their name; of a
 *   token in a cookie the server tells the key's name alone
 * @returns {{state: "published" | "secret" | "missing", words: string, keys: Key[]}}
 *   secret: one shared secret signs; missing: the key that signed is not among the published ones
 */
export function compareKeys({ keys }, headers) {
  const listed = keys.map((key) => {
    const kid = typeof key.kid === "string" ? key.kid : "";
    const signed = Object.keys(headers).filter((name) => kid !== "" && headers[name].kid === kid);
    return { kid, kind: describeKey(key), signed };
  });
  const { alg } = headers.access;
  const [count, them] = keys.length === 1 ? ["One key is published", "it"] : [`${keys.length} keys are published`, "them"];
  if (alg === undefined ? keys.length === 0 : String(alg).startsWith("HS")) {
    const rest =
      keys.length === 0
        ? "Nothing is published, so nobody else can check its tokens."
        : `What is published belongs to another algorithm, before or after a change.`;
    const words = `This site signs with ${alg === undefined ? "" : `${alg}: `}one secret that its servers alone know. ${rest}`;
    return { state: "secret", words, keys: listed };
  }
  if (!listed.some(({ signed }) => signed.includes("access"))) {
    const found = keys.length === 0 ? "No key is published" : count;
    return {
      state: "missing",
      words: `${found}, and the one that signed your access token is not among the published ones.`,
      keys: listed,
    };
  }
  return {
    state: "published",
    words: `${count}. Anybody can check this site's tokens with ${them}, and nobody can sign with ${them}.`,
    keys: listed,
  };
}
