/**
 * Taking a JSON Web Token apart (RFC 7519, in the compact form of RFC 7515).
 *
 * Nothing here verifies a signature: the browser has no key, and must never decide anything by
 * what a token says. It only shows what is written in it and reads how long it lasts.
 */

/** A text that is no token, with the reason in words. */
export class TokenError extends Error {
  name = "TokenError";
}

/**
 * Decode base64url without padding (RFC 7515, section 2).
 *
 * @param {string} text
 * @returns {Uint8Array}
 * @throws {TokenError} for characters outside the alphabet or an impossible length
 */
export function decodeBase64Url(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) {
    throw new TokenError("is not base64url");
  }
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function decodeObject(text, part) {
  let value;
  try {
    const utf8 = new TextDecoder("utf-8", { fatal: true });
    value = JSON.parse(utf8.decode(decodeBase64Url(text)));
  } catch (error) {
    throw new TokenError(`The ${part} of the token cannot be read.`, { cause: error });
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new TokenError(`The ${part} of the token is not an object.`);
  }
  return value;
}

/**
 * @typedef {object} Token
 * @property {string} raw
 * @property {{header: string, payload: string, signature: string}} parts  as they travel
 * @property {Record<string, unknown>} header
 * @property {Record<string, unknown>} payload
 * @property {Uint8Array} signature
 * @property {number | null} issuedAt   milliseconds since 1970, as the server's clock has it
 * @property {number | null} expiresAt  milliseconds since 1970, as the server's clock has it
 */

/**
 * Split a token into its three parts and decode each.
 *
 * @param {string} raw
 * @returns {Token}
 * @throws {TokenError}
 */
export function decodeToken(raw) {
  const parts = typeof raw === "string" ? raw.split(".") : [];
  if (parts.length !== 3) {
    throw new TokenError("A token has three parts with dots between them; this text has not.");
  }
  const [header, payload, signature] = parts;
  let bytes;
  try {
    bytes = decodeBase64Url(signature);
  } catch (error) {
    throw new TokenError("The signature of the token cannot be read.", { cause: error });
  }
  const claims = decodeObject(payload, "payload");
  return {
    raw,
    parts: { header, payload, signature },
    header: decodeObject(header, "header"),
    payload: claims,
    signature: bytes,
    issuedAt: numericDate(claims.iat),
    expiresAt: numericDate(claims.exp),
  };
}

/**
 * A NumericDate (RFC 7519, section 2: seconds since 1970, fractions allowed) in milliseconds.
 *
 * @param {unknown} value
 * @returns {number | null} null for anything that is no moment a calendar knows
 */
export function numericDate(value) {
  if (typeof value !== "number" || !Number.isFinite(value) || Math.abs(value) > 8.64e12) {
    return null;
  }
  return value * 1000;
}

const ALGORITHMS = {
  HS: "HMAC: one secret key, known to the server alone, both signs and checks",
  RS: "RSA: a private key signs, anybody with the public key can check",
  PS: "RSA-PSS: a private key signs, anybody with the public key can check",
  ES: "an elliptic curve: a private key signs, anybody with the public key can check",
  Ed: "Ed25519: a private key signs, anybody with the public key can check",
};

const TOKEN_TYPES = {
  access: "opens the API, for a short while",
  refresh: "buys the next access token, once",
};

/**
 * What a header parameter or claim means, in one line of plain words.
 *
 * @param {string} name
 * @param {unknown} value
 * @param {(milliseconds: number) => string} formatInstant  how to write a moment
 * @returns {string}
 */
export function describeClaim(name, value, formatInstant) {
  const moment = numericDate(value);
  const at = moment === null ? "at a time that cannot be read" : formatInstant(moment);
  switch (name) {
    case "alg":
      return value === "none"
        ? "not signed at all: no server should accept this"
        : (ALGORITHMS[String(value).slice(0, 2)] ?? "the way it is signed");
    case "typ":
      return "the kind of thing this is";
    case "kid":
      return "the name of the key that signed it";
    case "exp":
      return `runs out ${at}`;
    case "iat":
      return `issued ${at}`;
    case "nbf":
      return `not to be used before ${at}`;
    case "auth_time":
      return `the password was given ${at}`;
    case "jti":
      return "the serial number of this very token";
    case "sid":
      return "the session: the family that all tokens since the log-in belong to";
    case "token_type":
      return TOKEN_TYPES[String(value)] ?? "what it may be used for";
    case "user_id":
    case "sub":
      return "whom it speaks for";
    case "iss":
      return "who issued it";
    case "aud":
      return "whom it is meant for";
    default:
      // RFC 7519, section 4.2: a public name is registered, or an address of whoever defined it.
      return /^https?:\/\//.test(name) ? "a public claim, named by an address" : "a claim of this site's own";
  }
}

/**
 * The value of a claim as it is written in the token.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function formatClaim(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
