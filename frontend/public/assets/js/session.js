/**
 * One person's session: two tokens, kept fresh, the same in all tabs.
 *
 * The tokens travel in a header, and then this page keeps them, or in cookies that only the browser
 * and the server can read. Which one is chosen at log-in; everything else is the same.
 *
 * A refresh token works once: the server answers with a new pair and refuses the old one. So two
 * refreshes at the same time, from two clicks or from two tabs, would end the session. Within a tab
 * all callers share one refresh; across tabs a Web Lock lets one tab refresh at a time, and a
 * BroadcastChannel brings its new tokens to the others.
 */

import { ApiError } from "./api.js";
import { backoff } from "./retry.js";
import { TRANSPORT, isRecord, isUnseen } from "./store.js";
import { refreshDue } from "./time.js";
import { decodeToken } from "./token.js";

const TOKEN = "/api/token/";
const REFRESH = "/api/token/refresh/";
const BLACKLIST = "/api/token/blacklist/";
const SESSIONS = "/api/token/sessions/";
const PASSWORD = "/api/password/";

/** The server's word for a session that was ended, whoever ended it. */
const SESSION_ENDED = "session_ended";

/** How long other tabs have to say what they know. */
const HEARING = 150;

/** Timers of hidden tabs and sleeping machines drift: look at the clock at least this often. */
const LONGEST_SLEEP = 20_000;

/**
 * Why a session ended.
 *
 *   expired     the refresh token has run out
 *   refused     the server refuses the refresh token and does not say more
 *   revoked     somebody or something has ended it: the server says so of any of its tokens
 *   unreadable  what was stored cannot be read
 *   logout      the person logged out here
 *   everywhere  the person logged out everywhere
 *   password    the person changed the password
 */
export const ENDED = {
  expired: "expired",
  refused: "refused",
  revoked: "revoked",
  unreadable: "unreadable",
  logout: "logout",
  everywhere: "everywhere",
  password: "password",
};

/** What happened to a session, with its particulars in `detail`. */
export class SessionEvent extends Event {
  constructor(type, detail) {
    super(type);
    this.detail = detail;
  }
}

/**
 * Events, all of them `SessionEvent`s:
 *   change     the state is another one: read `record`, `access`, `refresh`, `refreshing`
 *   begun      {restored}        a session is there
 *   refreshed  {reason, elsewhere}  reason: due | asked | refused; elsewhere: another tab did it
 *   trouble    {error, reason, wait, first}  a refresh failed; if automatic, again after `wait` ms
 *   recovered  {}                a refresh worked after some that failed
 *   ended      {reason, error, elsewhere}  reason: one of ENDED
 */
export class Session extends EventTarget {
  #api;
  #clock;
  #store;
  #channel;
  #locks;
  #flight = null;
  #timer = null;
  #failures = 0;
  #retryAt = 0;
  #automatic = true;
  #over = new Set();

  /** @type {import("./store.js").SessionRecord | null} */
  record = null;
  /**
   * Of a token in a cookie only its life and what its key and its session are called.
   *
   * @type {import("./token.js").Token | null}
   */
  access = null;
  /** @type {import("./token.js").Token | null} */
  refresh = null;

  /**
   * @param {object} parts
   * @param {import("./api.js").Api} parts.api
   * @param {import("./time.js").ServerClock} parts.clock
   * @param {import("./store.js").TabStore} parts.store
   * @param {BroadcastChannel | null} parts.channel  to the other tabs of this origin
   * @param {LockManager | null} parts.locks
   */
  constructor({ api, clock, store, channel = null, locks = null }) {
    super();
    this.#api = api;
    this.#clock = clock;
    this.#store = store;
    this.#channel = channel;
    this.#locks = locks;
    channel?.addEventListener("message", ({ data }) => this.#hear(data));
  }

  get loggedIn() {
    return this.record !== null;
  }

  get refreshing() {
    return this.#flight !== null;
  }

  /** Whether the tokens are in cookies, where this page cannot see them. */
  get hidden() {
    return this.record?.transport === TRANSPORT.cookie;
  }

  /** The server's name of this session, the same in all its tokens; null where it cannot be seen. */
  get family() {
    const sid = this.access?.payload?.sid;
    return typeof sid === "string" ? sid : null;
  }

  /** Whether the last automatic refresh failed and another one is to come. */
  get troubled() {
    return this.#failures > 0;
  }

  get automatic() {
    return this.#automatic;
  }

  set automatic(value) {
    this.#automatic = value;
    this.#retryAt = 0;
    this.wake();
    this.#tell("change");
  }

  /** When the access token is due for refreshing, in the server's time; null without one. */
  get due() {
    const { issuedAt, expiresAt } = this.access ?? {};
    return issuedAt == null || expiresAt == null ? null : refreshDue(issuedAt, expiresAt);
  }

  /** Whether the access token has run out. */
  get stale() {
    return this.access?.expiresAt != null && this.access.expiresAt <= this.#clock.now();
  }

  /** Take up the session that this tab had before it was reloaded, or that another tab has now. */
  async restore() {
    const own = this.#store.load();
    if (own !== null) this.#take(own);
    if (this.record !== null) this.#tell("begun", { restored: true });
    await this.#askOthers();
    this.wake();
  }

  /**
   * Log in with a password.
   *
   * @param {string} username
   * @param {string} password
   * @param {"header" | "cookie"} transport  how the tokens are to travel
   * @throws {ApiError}
   */
  async logIn(username, password, transport = TRANSPORT.header) {
    const sent = Date.now();
    const answer = await this.#api.call("POST", TOKEN, {
      json: { username, password, transport },
      cookies: transport === TRANSPORT.cookie,
    });
    const pair = this.#pair(answer, transport);
    this.#learnTime(pair.access, sent);
    this.#take({
      id: crypto.randomUUID(),
      generation: 1,
      username,
      transport,
      ...pair,
      offset: this.#clock.offset,
    });
    this.#failures = 0;
    this.#share();
    this.#tell("begun", { restored: false });
    this.wake();
  }

  /**
   * Get a new pair of tokens. Callers at the same time share one refresh.
   *
   * @param {"due" | "asked" | "refused"} reason
   * @throws {ApiError} when it failed; the session is over only if `loggedIn` says so afterwards
   */
  renew(reason) {
    if (this.#flight === null) {
      this.#flight = this.#renewOnce(reason)
        .catch((error) => {
          this.#postpone(error, reason);
          throw error;
        })
        .finally(() => {
          this.#flight = null;
          this.#tell("change");
          this.wake();
        });
      this.#tell("change");
    }
    return this.#flight;
  }

  /**
   * Send a request that needs the access token. It is refreshed before when it has run out, and
   * once more when the server says that it does not accept it, which covers clocks that disagree.
   *
   * @returns {Promise<import("./api.js").Answer>} whatever the status
   * @throws {ApiError}
   */
  async send(method, path, content = {}) {
    if (this.#automatic && this.stale) await this.renew("due");
    const used = this.record;
    const answer = await this.#api.send(method, path, { ...content, ...credentials(used) });
    if (answer.status !== 401 || this.record === null) return answer;
    if (this.#tellsEnd(answer)) return answer;
    if (!this.#automatic) return answer;
    if (this.record.generation === used?.generation) await this.renew("refused");
    const again = await this.#api.send(method, path, { ...content, ...credentials(this.record) });
    this.#tellsEnd(again);
    return again;
  }

  /**
   * Send a request that needs the access token and has to succeed.
   *
   * @returns {Promise<import("./api.js").Answer>} with a status from 200 to 299
   * @throws {ApiError}
   */
  async call(method, path, content = {}) {
    const answer = await this.send(method, path, content);
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw this.#api.refusal(answer);
  }

  /**
   * Log out everywhere: the server ends every session of this person, this one too.
   *
   * @throws {ApiError} and then nothing has ended
   */
  async logOutEverywhere() {
    await this.call("DELETE", SESSIONS);
    this.#end(ENDED.everywhere);
  }

  /**
   * Change the password. The server ends every session of this person, this one too.
   *
   * @param {string} old
   * @param {string} fresh
   * @throws {ApiError} and then nothing has changed
   */
  async changePassword(old, fresh) {
    await this.call("POST", PASSWORD, { json: { old_password: old, new_password: fresh } });
    this.#end(ENDED.password);
  }

  /** Whether an answer says that this session is over; then it is. */
  #tellsEnd(answer) {
    const error = this.#api.refusal(answer);
    if (answer.status !== 401 || error.code !== SESSION_ENDED || this.record === null) return false;
    this.#end(ENDED.revoked, { error });
    return true;
  }

  /**
   * Log out: the server is told to end this session, then the tokens are forgotten, here and in all
   * tabs. In a header they are forgotten whether the server could be told or not. Cookies no script
   * can take away: without the server the person stays logged in, and has to be told.
   *
   * @returns {Promise<ApiError | null>} why the server could not be told
   */
  async logOut() {
    await this.#flight?.catch(() => undefined);
    if (this.record === null) return null;
    const { id } = this.record;
    let failure = null;
    await this.#alone(id, async () => {
      await this.#askOthers();
      if (this.record === null) return;
      try {
        await this.#api.call("POST", BLACKLIST, this.#refreshing());
      } catch (error) {
        // A token that is refused already needs no refusing.
        if (!(error instanceof ApiError)) throw error;
        if (error.answer?.status !== 401) failure = error;
      }
    });
    if (failure === null || !this.hidden) this.#end(ENDED.logout, { error: failure });
    return failure;
  }

  /** What a request carries that wants the refresh token. */
  #refreshing() {
    return this.hidden ? { json: {}, cookies: true } : { json: { refresh: this.record.refresh } };
  }

  /** Look at the clock: refresh what is due, end what has run out, and sleep until the next event. */
  wake() {
    clearTimeout(this.#timer);
    if (this.record === null) return;
    const now = this.#clock.now();
    const ends = this.refresh?.expiresAt ?? Infinity;
    if (now >= ends) {
      if (!this.refreshing) this.#end(ENDED.expired);
      return;
    }
    let next = ends;
    if (this.#automatic && !this.refreshing && this.due !== null) {
      const at = Math.max(this.due, this.#retryAt);
      if (now >= at) {
        // A failure is told as an event, and the next attempt is set by then.
        this.renew("due").catch(() => undefined);
        return;
      }
      next = Math.min(next, at);
    }
    this.#timer = setTimeout(() => this.wake(), Math.min(next - now, LONGEST_SLEEP));
  }

  /** The network is back: what waits for its next attempt need not wait. */
  hurry() {
    this.#retryAt = 0;
    this.wake();
  }

  /** After a failure the next automatic attempt waits, and longer each time. */
  #postpone(error, reason) {
    if (this.record === null) return;
    this.#failures += 1;
    const wait = Math.max(backoff(this.#failures), error.retryAfter ?? 0);
    this.#retryAt = this.#clock.now() + wait;
    this.#tell("trouble", { error, reason, wait, first: this.#failures === 1 });
  }

  async #renewOnce(reason) {
    const { id, generation } = this.record ?? {};
    if (id === undefined) return;
    await this.#alone(id, async () => {
      await this.#askOthers();
      // Another tab was faster, or has logged out, while this one waited for its turn.
      if (this.record?.id !== id || this.record.generation > generation) return;
      const sent = Date.now();
      let answer;
      try {
        answer = await this.#api.call("POST", REFRESH, this.#refreshing());
      } catch (error) {
        if (error instanceof ApiError && error.answer?.status === 401) {
          this.#end(error.code === SESSION_ENDED ? ENDED.revoked : ENDED.refused, { error });
        }
        throw error;
      }
      if (this.record?.id !== id) return;
      const pair = this.#pair(answer, this.record.transport, this.record.refresh);
      this.#learnTime(pair.access, sent);
      this.#take({ ...this.record, generation: generation + 1, ...pair, offset: this.#clock.offset });
      this.#share();
      this.#settled();
      this.#tell("refreshed", { reason, elsewhere: false });
    });
  }

  #settled() {
    const recovered = this.#failures > 0;
    this.#failures = 0;
    this.#retryAt = 0;
    if (recovered) this.#tell("recovered");
  }

  /** The tokens in an answer; a server that does not rotate sends no refresh token again. */
  #pair(answer, transport, known) {
    const { access, refresh = known } = answer.body ?? {};
    try {
      if (transport === TRANSPORT.cookie) return { access: unseen(access), refresh: unseen(refresh) };
      decodeToken(access);
      decodeToken(refresh);
    } catch (cause) {
      throw new ApiError("unexpected", { answer, cause });
    }
    return { access, refresh };
  }

  /** A token is issued while its request is under way, so `iat` tells the time too. */
  #learnTime(access, sent) {
    this.#clock.observe(readToken(access).issuedAt, sent, Date.now());
  }

  #take(record) {
    try {
      this.access = readToken(record.access);
      this.refresh = readToken(record.refresh);
    } catch {
      this.#store.clear(record.transport);
      this.#end(ENDED.unreadable);
      return;
    }
    this.record = record;
    this.#clock.offset = record.offset;
    this.#store.save(record);
    this.#tell("change");
  }

  #end(reason, { error = null, elsewhere = false } = {}) {
    const ended = this.record;
    if (ended !== null) this.#over.add(ended.id);
    clearTimeout(this.#timer);
    this.record = null;
    this.access = null;
    this.refresh = null;
    this.#failures = 0;
    this.#retryAt = 0;
    if (ended !== null) this.#store.clear(ended.transport);
    if (ended !== null && !elsewhere) this.#channel?.postMessage({ type: "ended", id: ended.id, reason });
    this.#tell("ended", { reason, error, elsewhere });
    this.#tell("change");
  }

  /** Do something that no other tab of the same session does at the same time. */
  #alone(id, work) {
    return this.#locks === null ? work() : this.#locks.request(`slipway.session.${id}`, work);
  }

  #share() {
    this.#channel?.postMessage({ type: "record", record: this.record });
  }

  /** Ask the other tabs for this session (or, in a new tab, for any), and listen for a moment. */
  async #askOthers() {
    if (this.#channel === null) return;
    this.#channel.postMessage({ type: "ask", id: this.record?.id ?? null });
    await new Promise((resolve) => setTimeout(resolve, HEARING));
  }

  #hear(message) {
    if (message?.type === "ask") {
      if (this.record !== null && [null, this.record.id].includes(message.id)) this.#share();
    } else if (message?.type === "ended") {
      if (this.record?.id === message.id) this.#end(message.reason, { elsewhere: true });
    } else if (message?.type === "record" && isRecord(message.record)) {
      this.#hearRecord(message.record);
    }
  }

  #hearRecord(record) {
    // A message that was under way when the session ended must not bring it back.
    if (this.#over.has(record.id)) return;
    if (this.record === null) {
      this.#take(record);
      this.#tell("begun", { restored: true });
    } else if (record.id === this.record.id && record.generation > this.record.generation) {
      this.#take(record);
      this.#settled();
      this.#tell("refreshed", { reason: "due", elsewhere: true });
    }
    this.wake();
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new SessionEvent(type, detail));
  }
}

/** What a request carries that needs the access token. */
function credentials(record) {
  if (record === null) return {};
  return record.transport === TRANSPORT.cookie ? { cookies: true } : { token: record.access };
}

/**
 * A token as the page has it: decoded, or, where only the browser has it, what the server told of it.
 *
 * @param {string | import("./store.js").Unseen} token
 */
function readToken(token) {
  if (typeof token === "string") return decodeToken(token);
  const { kid, sid, issuedAt, expiresAt } = token;
  return { header: { kid }, payload: { sid }, issuedAt, expiresAt };
}

/**
 * What an answer tells of a token that came in a cookie.
 *
 * @param {any} told
 * @returns {import("./store.js").Unseen}
 * @throws {TypeError} when it does not tell enough
 */
function unseen(told) {
  const [issuedAt, expiresAt] = [Date.parse(told.issued_at), Date.parse(told.expires_at)];
  const token = { kid: told.kid, sid: told.sid, issuedAt, expiresAt };
  if (!isUnseen(token)) throw new TypeError("The answer does not describe its cookies.");
  return token;
}
