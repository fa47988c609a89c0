/** What several tests need: tokens to order, a clock to set, a server that answers as told. */

import { webcrypto } from "node:crypto";

// Node 18 has these only as a module; browsers and later versions have them as a global.
globalThis.crypto ??= webcrypto;

export const NOON = Date.UTC(2026, 10, 22, 12, 0, 0);

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token that looks right; its signature signs nothing, as no test here verifies one. */
export function token(claims = {}, header = { alg: "HS256", typ: "JWT" }) {
  return `${encode(header)}.${encode(claims)}.${Buffer.alloc(32, 7).toString("base64url")}`;
}

/** A pair as the API sends it, issued at a moment. */
export function pair(now, { access = 300, refresh = 86_400, serial = 1 } = {}) {
  const iat = Math.floor(now / 1000);
  return {
    access: token({ token_type: "access", iat, exp: iat + access, jti: `a${serial}` }),
    refresh: token({ token_type: "refresh", iat, exp: iat + refresh, jti: `r${serial}` }),
  };
}

/** An answer, as fetch would give it. */
export function answer(status, body = null, headers = {}) {
  const type = status < 400 ? "application/json" : "application/problem+json";
  return new Response(body === null ? null : JSON.stringify(body), {
    status,
    headers: { "content-type": type, ...headers },
  });
}

/** A device's clock that goes only when it is told to. */
export class Watch {
  constructor(time = NOON) {
    this.time = time;
  }

  read = () => this.time;

  pass(milliseconds) {
    this.time += milliseconds;
  }
}

/** sessionStorage, in memory. */
export class Storage {
  #items = new Map();
  getItem = (key) => this.#items.get(key) ?? null;
  setItem = (key, value) => void this.#items.set(key, value);
  removeItem = (key) => void this.#items.delete(key);
}
