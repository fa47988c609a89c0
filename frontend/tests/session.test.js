import assert from "node:assert/strict";
import { test } from "node:test";

import { Api } from "../public/assets/js/api.js";
import { Session } from "../public/assets/js/session.js";
import { TabStore } from "../public/assets/js/store.js";
import { ServerClock } from "../public/assets/js/time.js";
import { Storage, Watch, answer, pair } from "./support.js";

/** A server that rotates refresh tokens and refuses a used one, as the real one does. */
class Server {
  serial = 0;
  good = null;
  requests = [];
  /** Whether the session was ended, here or elsewhere. */
  over = false;
  /** What the browser keeps unseen, in cookie mode. */
  cookies = null;
  /** Set to a function to have every request answered by it, or by throwing. */
  instead = null;

  constructor(watch) {
    this.watch = watch;
  }

  #issue() {
    this.serial += 1;
    const tokens = pair(this.watch.time, { serial: this.serial });
    this.good = tokens.refresh;
    return answer(200, tokens);
  }

  #begin(transport) {
    this.over = false;
    if (transport === "header") return this.#issue();
    return this.#setCookies();
  }

  #setCookies() {
    this.serial += 1;
    this.cookies = { serial: this.serial };
    const told = (seconds) => ({
      kid: "k1",
      sid: "family",
      issued_at: new Date(this.watch.time).toISOString(),
      expires_at: new Date(this.watch.time + seconds * 1000).toISOString(),
    });
    return answer(200, { transport: "cookie", access: told(300), refresh: told(86_400) });
  }

  #withCookies(path) {
    if (path === "/api/token/refresh/") return this.#setCookies();
    if (path === "/api/token/blacklist/") this.cookies = null;
    return answer(200, {});
  }

  fetch = async (path, { body, headers, credentials }) => {
    this.requests.push(path);
    await null;
    if (this.instead !== null) return this.instead(path);
    const json = body === undefined ? {} : JSON.parse(body);
    if (path === "/api/token/") return json.password === "right" ? this.#begin(json.transport) : answer(401, {});
    if (this.over) return answer(401, { code: "session_ended" });
    if (this.cookies !== null) return credentials === "same-origin" ? this.#withCookies(path) : answer(401, {});
    if (path === "/api/token/refresh/") {
      return json.refresh === this.good ? this.#issue() : answer(401, { detail: "Token is blacklisted" });
    }
    if (path === "/api/password/" && json.old_password !== "right") return answer(400, { code: "invalid" });
    if (["/api/token/sessions/", "/api/password/"].includes(path)) {
      this.over = true;
      return answer(204);
    }
    if (path === "/api/token/blacklist/") {
      if (json.refresh !== this.good) return answer(401, {});
      this.good = null;
      return answer(200, {});
    }
    return headers.Authorization ? answer(200, { message: "Hello" }) : answer(401, {});
  };

  count(path) {
    return this.requests.filter((request) => request === path).length;
  }
}

/** A BroadcastChannel among the tabs of one test: messages arrive a moment later, and not at the sender. */
class Air {
  #tabs = [];

  channel() {
    const tab = new EventTarget();
    const others = () => this.#tabs.filter((other) => other !== tab);
    tab.postMessage = (data) => {
      const copy = structuredClone(data);
      queueMicrotask(() => {
        for (const other of others()) other.dispatchEvent(Object.assign(new Event("message"), { data: copy }));
      });
    };
    this.#tabs.push(tab);
    return tab;
  }
}

/** Web Locks of one name, in order. */
class Locks {
  #last = Promise.resolve();

  request(_name, work) {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

function openTab({
  watch = new Watch(),
  server = new Server(watch),
  storage = new Storage(),
  lasting = new Storage(),
  channel,
  locks,
} = {}) {
  const clock = new ServerClock(watch.read);
  const session = new Session({
    api: new Api(clock, server.fetch, () => ""),
    clock,
    store: new TabStore(
      () => storage,
      () => lasting,
    ),
    channel,
    locks,
  });
  // The clock of these tests is the server's own: what the machine's real clock says must not correct it.
  clock.observe = () => false;
  const events = [];
  for (const type of ["begun", "refreshed", "trouble", "recovered", "ended"]) {
    session.addEventListener(type, ({ detail }) => events.push({ type, ...detail }));
  }
  const told = () => events.map(({ type }) => type);
  return { session, server, watch, storage, lasting, channel, events, told };
}

/** Let everything that is under way come to its end. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 20));

async function loggedIn(options) {
  const tab = openTab(options);
  await tab.session.logIn("ada", "right");
  return tab;
}

test("a wrong password begins nothing", async (t) => {
  const { session, told } = openTab();
  t.after(() => session.logOut());
  await assert.rejects(session.logIn("ada", "wrong"), { kind: "refused" });
  assert.equal(session.loggedIn, false);
  assert.deepEqual(told(), []);
});

test("a log-in brings two tokens and keeps them for a reload", async (t) => {
  const first = await loggedIn();
  t.after(() => first.session.logOut());
  assert.equal(first.session.access.payload.token_type, "access");
  assert.equal(first.session.refresh.payload.token_type, "refresh");
  const again = openTab(first);
  t.after(() => again.session.logOut());
  await again.session.restore();
  assert.equal(again.session.record.refresh, first.session.record.refresh);
  assert.equal(again.events[0].restored, true);
});

test("nothing happens before the access token is due, and at that moment it is refreshed", async (t) => {
  const { session, server, watch, told } = await loggedIn();
  t.after(() => session.logOut());
  watch.pass(239_000);
  session.wake();
  await settle();
  assert.equal(server.count("/api/token/refresh/"), 0);
  watch.pass(1_000);
  session.wake();
  await settle();
  assert.equal(server.count("/api/token/refresh/"), 1);
  assert.equal(session.record.generation, 2);
  assert.deepEqual(told(), ["begun", "refreshed"]);
});

test("with automatic refresh off the token is left to run out", async (t) => {
  const { session, server, watch } = await loggedIn();
  t.after(() => session.logOut());
  session.automatic = false;
  watch.pass(301_000);
  session.wake();
  await settle();
  assert.equal(server.count("/api/token/refresh/"), 0);
  assert.equal(session.stale, true);
  await session.send("GET", "/hello/");
  assert.equal(server.count("/api/token/refresh/"), 0);
  session.automatic = true;
  await settle();
  assert.equal(session.stale, false);
});

test("many wishes to refresh at the same time are one refresh", async (t) => {
  const { session, server } = await loggedIn();
  t.after(() => session.logOut());
  await Promise.all(Array.from({ length: 8 }, () => session.renew("asked")));
  assert.equal(server.count("/api/token/refresh/"), 1);
  assert.equal(session.loggedIn, true);
});

test("a call with a token that has run out refreshes it first", async (t) => {
  const { session, server, watch } = await loggedIn();
  t.after(() => session.logOut());
  watch.pass(400_000);
  const received = await session.send("GET", "/hello/");
  assert.equal(received.status, 200);
  assert.deepEqual(server.requests.slice(1), ["/api/token/refresh/", "/hello/"]);
});

test("a token that the server does not accept is refreshed once and the call repeated", async (t) => {
  const { session, server } = await loggedIn();
  t.after(() => session.logOut());
  let refused = 0;
  const fetch = server.fetch;
  server.instead = (path) => {
    if (path === "/hello/") {
      refused += 1;
      return answer(401, {});
    }
    server.instead = null;
    return fetch("/api/token/refresh/", { body: JSON.stringify({ refresh: server.good }), headers: {} });
  };
  const received = await session.send("GET", "/hello/");
  assert.equal(refused, 1);
  assert.equal(received.status, 200);
});

test("a server that cannot be reached is tried again, later each time, and then all is well", async (t) => {
  const { session, server, watch, events, told } = await loggedIn();
  t.after(() => session.logOut());
  server.instead = () => {
    throw new TypeError("Failed to fetch");
  };
  watch.pass(240_000);
  session.wake();
  await settle();
  assert.equal(session.loggedIn, true);
  assert.equal(session.troubled, true);
  session.wake();
  await settle();
  assert.equal(server.count("/api/token/refresh/"), 1, "no second attempt before its time");
  watch.pass(2_000);
  session.wake();
  await settle();
  assert.equal(server.count("/api/token/refresh/"), 2);
  server.instead = null;
  session.hurry();
  await settle();
  assert.equal(session.troubled, false);
  assert.deepEqual(told(), ["begun", "trouble", "trouble", "recovered", "refreshed"]);
  assert.ok(events[2].wait > events[1].wait);
});

test("a server that asks for a pause gets it", async (t) => {
  const { session, server, watch, events } = await loggedIn();
  t.after(() => session.logOut());
  server.instead = () => answer(429, {}, { "retry-after": "50" });
  watch.pass(240_000);
  session.wake();
  await settle();
  assert.equal(events.at(-1).wait, 50_000);
  watch.pass(49_000);
  session.wake();
  await settle();
  assert.equal(server.count("/api/token/refresh/"), 1);
});

test("a refused refresh token ends the session, and says so", async () => {
  const { session, server, storage, events } = await loggedIn();
  server.good = null;
  await assert.rejects(session.renew("asked"), { kind: "refused" });
  assert.equal(session.loggedIn, false);
  assert.equal(storage.getItem("slipway.session"), null);
  assert.equal(events.at(-1).type, "ended");
  assert.equal(events.at(-1).reason, "refused");
});

test("a server in trouble does not end the session", async (t) => {
  const { session, server } = await loggedIn();
  t.after(() => session.logOut());
  for (const status of [403, 404, 500, 502, 503]) {
    server.instead = () => answer(status, {});
    await assert.rejects(session.renew("asked"));
    assert.equal(session.loggedIn, true);
  }
  server.instead = null;
});

test("when the refresh token runs out as well, the session is over", async () => {
  const { session, watch, events } = await loggedIn();
  session.automatic = false;
  watch.pass(86_400_000);
  session.wake();
  assert.equal(session.loggedIn, false);
  assert.equal(events.at(-1).reason, "expired");
});

test("logging out tells the server and forgets the tokens", async () => {
  const { session, server, storage, events } = await loggedIn();
  assert.equal(await session.logOut(), null);
  assert.equal(server.good, null);
  assert.equal(session.access, null);
  assert.equal(storage.getItem("slipway.session"), null);
  assert.equal(events.at(-1).reason, "logout");
});

test("logging out with the network down forgets the tokens all the same, and says what could not be done", async () => {
  const { session, server } = await loggedIn();
  server.instead = () => {
    throw new TypeError("Failed to fetch");
  };
  const failure = await session.logOut();
  assert.equal(failure.kind, "offline");
  assert.equal(session.loggedIn, false);
});

test("a log-out during a refresh revokes the token that the refresh brought", async () => {
  const { session, server } = await loggedIn();
  const refresh = session.renew("asked");
  await Promise.all([refresh, session.logOut()]);
  assert.equal(server.good, null);
  assert.equal(session.loggedIn, false);
});

test("an answer without tokens is no success", async () => {
  const { session, server } = openTab();
  server.instead = () => answer(200, { access: "nonsense" });
  await assert.rejects(session.logIn("ada", "right"), { kind: "unexpected" });
  assert.equal(session.loggedIn, false);
});

test("a stored session that cannot be read is thrown away", async () => {
  const cookie = { id: "a", generation: 1, username: "ada", transport: "cookie", access: {}, refresh: {}, offset: 0 };
  for (const stored of ["{", "[]", '{"id":1}', JSON.stringify({ id: "a", generation: 1 }), JSON.stringify(cookie)]) {
    const storage = new Storage();
    storage.setItem("slipway.session", stored);
    const { session } = openTab({ storage });
    await session.restore();
    assert.equal(session.loggedIn, false);
  }
});

test("a browser that forbids storage still has a session, in memory", async (t) => {
  const watch = new Watch();
  const server = new Server(watch);
  const clock = new ServerClock(watch.read);
  clock.observe = () => false;
  const forbidden = () => {
    throw new DOMException("no", "SecurityError");
  };
  const session = new Session({ api: new Api(clock, server.fetch, () => ""), clock, store: new TabStore(forbidden, forbidden) });
  t.after(() => session.logOut());
  await session.restore();
  await session.logIn("ada", "right");
  assert.equal(session.loggedIn, true);
});

test("a server that says the session has ended is believed at once, and no refresh is tried", async () => {
  const { session, server, storage, events } = await loggedIn();
  server.over = true;
  const received = await session.send("GET", "/hello/");
  assert.equal(received.status, 401);
  assert.equal(session.loggedIn, false);
  assert.equal(storage.getItem("slipway.session"), null);
  assert.equal(events.at(-1).reason, "revoked");
  assert.equal(server.count("/api/token/refresh/"), 0);
});

test("a refresh finds out too that the session was ended", async () => {
  const { session, server, events } = await loggedIn();
  server.over = true;
  await assert.rejects(session.renew("asked"), { code: "session_ended" });
  assert.equal(events.at(-1).reason, "revoked");
});

test("logging out everywhere ends this session too", async () => {
  const { session, server, events } = await loggedIn();
  await session.logOutEverywhere();
  assert.equal(server.over, true);
  assert.equal(session.loggedIn, false);
  assert.equal(events.at(-1).reason, "everywhere");
});

test("logging out everywhere is not claimed when the server could not be told", async (t) => {
  const { session, server } = await loggedIn();
  t.after(() => session.logOut());
  server.instead = () => answer(503, {});
  await assert.rejects(session.logOutEverywhere(), { kind: "server" });
  assert.equal(session.loggedIn, true);
  server.instead = null;
});

test("a new password ends the session, a wrong old one does not", async () => {
  const { session, events } = await loggedIn();
  await assert.rejects(session.changePassword("wrong", "new"), { code: "invalid" });
  assert.equal(session.loggedIn, true);
  await session.changePassword("right", "new");
  assert.equal(session.loggedIn, false);
  assert.equal(events.at(-1).reason, "password");
});

const inCookies = async (options) => {
  const tab = openTab(options);
  await tab.session.logIn("ada", "right", "cookie");
  return tab;
};

test("with cookies the page has no token, only what the server tells of it", async (t) => {
  const { session, storage, lasting } = await inCookies();
  t.after(() => session.logOut());
  assert.equal(session.hidden, true);
  assert.deepEqual(session.access.header, { kid: "k1" });
  assert.equal(session.family, "family");
  assert.equal(session.access.expiresAt - session.access.issuedAt, 300_000);
  assert.equal(storage.getItem("slipway.session"), null);
  assert.doesNotMatch(lasting.getItem("slipway.session"), /eyJ/);
});

test("with cookies a call and a refresh carry no token of the page's", async (t) => {
  const { session, server, watch } = await inCookies();
  t.after(() => session.logOut());
  assert.equal((await session.send("GET", "/hello/")).status, 200);
  watch.pass(240_000);
  session.wake();
  await settle();
  assert.equal(server.count("/api/token/refresh/"), 1);
  assert.equal(session.record.generation, 2);
});

test("with cookies a session outlives its tab, and its end is the end for all", async (t) => {
  const first = await inCookies();
  t.after(() => first.session.logOut());
  const later = openTab({ ...first, storage: new Storage() });
  await later.session.restore();
  assert.equal(later.session.loggedIn, true);
  assert.equal(await later.session.logOut(), null);
  assert.equal(first.lasting.getItem("slipway.session"), null);
});

test("cookies that no server takes away stay, so the person is not told to be logged out", async () => {
  const { session, server } = await inCookies();
  server.instead = () => {
    throw new TypeError("Failed to fetch");
  };
  assert.equal((await session.logOut()).kind, "offline");
  assert.equal(session.loggedIn, true);
  server.instead = null;
  assert.equal(await session.logOut(), null);
  assert.equal(session.loggedIn, false);
});

test("an answer that does not describe its cookies is no success", async () => {
  const { session, server } = openTab();
  for (const body of [{}, { access: {}, refresh: {} }, { access: "eyJ", refresh: "eyJ" }]) {
    server.instead = () => answer(200, body);
    await assert.rejects(session.logIn("ada", "right", "cookie"), { kind: "unexpected" });
  }
  assert.equal(session.loggedIn, false);
});

function twoTabs() {
  const watch = new Watch();
  const server = new Server(watch);
  const air = new Air();
  const locks = new Locks();
  const open = () => openTab({ watch, server, channel: air.channel(), locks, storage: new Storage() });
  return { watch, server, open };
}

test("a second tab takes over the session of the first", async (t) => {
  const { open } = twoTabs();
  const first = open();
  await first.session.logIn("ada", "right");
  const second = open();
  await second.session.restore();
  t.after(() => first.session.logOut());
  assert.equal(second.session.record.refresh, first.session.record.refresh);
  assert.deepEqual(second.told(), ["begun"]);
});

test("two tabs that are due at the same moment refresh once, and both have the new pair", async (t) => {
  const { open, server, watch } = twoTabs();
  const tabs = [open(), open()];
  await tabs[0].session.logIn("ada", "right");
  await settle();
  t.after(() => tabs[0].session.logOut());
  watch.pass(240_000);
  for (const { session } of tabs) session.wake();
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(server.count("/api/token/refresh/"), 1);
  assert.equal(tabs[0].session.record.generation, 2);
  assert.equal(tabs[1].session.record.refresh, tabs[0].session.record.refresh);
});

test("a message that was late does not bring a session back that was logged out", async () => {
  const { open } = twoTabs();
  const [first, second] = [open(), open()];
  await first.session.logIn("ada", "right");
  await settle();
  const late = { ...first.session.record, generation: 2 };
  await first.session.logOut();
  await settle();
  second.channel.dispatchEvent(Object.assign(new Event("message"), { data: { type: "record", record: late } }));
  assert.equal(second.session.loggedIn, false);
});

test("logging out in one tab logs out in all", async () => {
  const { open } = twoTabs();
  const [first, second] = [open(), open()];
  await first.session.logIn("ada", "right");
  await settle();
  assert.equal(second.session.loggedIn, true);
  await first.session.logOut();
  await settle();
  assert.equal(second.session.loggedIn, false);
  assert.equal(second.events.at(-1).elsewhere, true);
});
