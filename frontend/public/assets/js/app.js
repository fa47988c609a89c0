/** The page: what the session does is shown, what the person does is handed to the session. */

import { Api, explain } from "./api.js";
import { CallPanel } from "./call-panel.js";
import { find, write } from "./dom.js";
import { KeysPanel } from "./keys-panel.js";
import { Logbook } from "./logbook.js";
import { PasswordForm } from "./password-form.js";
import { ENDED, Session } from "./session.js";
import { SessionsPanel } from "./sessions-panel.js";
import { TRANSPORT, TabStore } from "./store.js";
import { NOTABLE_SKEW, ServerClock, formatSpan, roundLife } from "./time.js";
import { TokenCard } from "./token-card.js";

const HELLO = "/hello/";

const clock = new ServerClock();
const api = new Api(clock);
const session = new Session({
  api,
  clock,
  store: new TabStore(),
  channel: "BroadcastChannel" in window ? new BroadcastChannel("slipway.session") : null,
  locks: navigator.locks ?? null,
});

const logbook = new Logbook(find("#log"), clock);
const call = new CallPanel(find("#call"));
const cards = { access: makeCard("access"), refresh: makeCard("refresh") };
const keys = new KeysPanel(find("#keys"), api);
const sessions = new SessionsPanel(find("#sessions"), session, clock, logbook);
const change = new PasswordForm(find("#change"), session);

const form = find("#login");
const fields = { username: find("#username"), password: find("#password") };
const submit = find("#login-submit");

function makeCard(name) {
  const [life, inside] = ["life", "inside"].map((half) => {
    const root = find(`#${name}-${half}`);
    root.append(find(`#token-${half}`).content.cloneNode(true));
    return root;
  });
  return new TokenCard(life, inside);
}

/* What is told -------------------------------------------------------------------------------- */

/** Fill one of the page's message boxes; without a title it goes away. */
function tell(place, kind, title = "", detail = "") {
  const box = find(`${place} [data-box]`);
  box.dataset.kind = kind;
  box.hidden = title === "";
  write(find("[data-title]", box), title);
  write(find("[data-detail]", box), detail);
}

/** One notice at a time, above everything. */
const notice = (...message) => tell("#notice", ...message);
const loginError = (...message) => tell("#login-error", "bad", ...message);

function fieldError(name, text) {
  write(find(`#${name}-error`), text);
  if (text === "") fields[name].removeAttribute("aria-invalid");
  else fields[name].setAttribute("aria-invalid", "true");
}

function pill() {
  if (session.refreshing) return ["busy", "Refreshing"];
  if (session.loggedIn && !navigator.onLine) return ["warn", "Offline"];
  if (session.loggedIn && session.troubled) return ["warn", "Server not reached"];
  if (session.loggedIn && session.stale) return ["warn", "Access token run out"];
  if (session.loggedIn) return ["good", "Logged in"];
  return ["out", "Logged out"];
}

function tellSkew() {
  const skewed = Math.abs(clock.offset) >= NOTABLE_SKEW;
  const box = find("#skew");
  box.hidden = !skewed;
  if (!skewed) return;
  // The server tells its time in whole seconds: more exactly than this nobody knows.
  const roughly = Math.round(Math.abs(clock.offset) / 5000) * 5000;
  const direction = clock.offset > 0 ? "behind" : "ahead of";
  write(
    box,
    `This device's clock is about ${formatSpan(roughly)} ${direction} the server's. ` +
      "All times here are corrected to the server's.",
  );
}

/* What is shown ------------------------------------------------------------------------------- */

function render() {
  const { record, loggedIn } = session;
  const [state, words] = pill();
  find("#pill").dataset.state = state;
  write(find("#pill [data-words]"), words);
  find("#ashore").hidden = loggedIn;
  find("#afloat").hidden = !loggedIn;
  find("#aboard").hidden = !loggedIn;
  find("#inside").hidden = !loggedIn;
  document.body.dataset.view = loggedIn ? "afloat" : "ashore";
  if (record === null) {
    document.title = "Slipway: tokens, from launch to log-out";
    find("#skew").hidden = true;
    return;
  }
  document.title = `${record.username}, logged in: Slipway`;
  write(find("#who"), record.username);
  write(find("#generation"), String(record.generation));
  find("#change-username").value = record.username;
  find("#renew").setAttribute("aria-disabled", String(session.refreshing));
  write(find("#transport"), session.hidden ? "in cookies" : "in a header");
  find("#inside-cookies").hidden = !session.hidden;
  for (const part of document.querySelectorAll("#inside > [data-seen]")) part.hidden = session.hidden;
  cards.access.show(session.access);
  cards.refresh.show(session.refresh);
  keys.show({ access: session.access.header, refresh: session.refresh.header });
  tick();
}

function tick() {
  if (!session.loggedIn) return;
  const now = clock.now();
  cards.access.tick(now, session.due, session.automatic && session.due !== null);
  cards.refresh.tick(now, null, false);
  tellSkew();
  const [state, words] = pill();
  find("#pill").dataset.state = state;
  write(find("#pill [data-words]"), words);
}

/* What the session tells ---------------------------------------------------------------------- */

session.addEventListener("change", render);

session.addEventListener("begun", ({ detail: { restored } }) => {
  notice("note");
  loginError();
  // Also when it was another tab that logged in: a password typed here must not stay behind.
  form.reset();
  showPassword(false);
  const life = roundLife(session.access.expiresAt - session.access.issuedAt);
  if (restored) logbook.write("note", "Session taken up again.", "It was still open in this browser.");
  else logbook.write("good", "Logged in.", `Two tokens received; the access token lasts ${formatSpan(life)}.`);
  signer = session.access.header.kid;
  look();
});

/** Ask the server for what is not in the tokens. Each panel tells by itself what it could not learn. */
function look() {
  keys.look();
  sessions.look();
}

/** The key that signed the access token last seen, to tell when it is another one. */
let signer;

session.addEventListener("refreshed", ({ detail: { reason, elsewhere } }) => {
  notice("note");
  const why = {
    due: "Its time was nearly up.",
    asked: "You asked for it.",
    refused: "The server no longer accepted the old one.",
  };
  logbook.write(
    "good",
    elsewhere ? "Access token refreshed by another tab." : "Access token refreshed.",
    `${elsewhere ? "" : why[reason]} The refresh token is a new one too; the old one is refused from now on.`.trim(),
  );
  const { kid } = session.access.header;
  if (kid !== signer) {
    logbook.write("note", "Another key signs now.", `${kid}. Nothing else has changed for you.`);
    signer = kid;
  }
  look();
});

session.addEventListener("trouble", ({ detail: { error, reason, wait, first } }) => {
  const { title, detail } = explain(error);
  const again = session.automatic ? `Refreshing is tried again in ${formatSpan(wait)}.` : "";
  notice("warn", `The access token could not be refreshed. ${title}`, `${detail} ${again}`.trim());
  if (first || reason === "asked") logbook.write("bad", "Refresh failed.", title);
});

session.addEventListener("recovered", () => logbook.write("good", "The server answers again."));

session.addEventListener("ended", ({ detail: { reason, error, elsewhere } }) => {
  for (const card of Object.values(cards)) card.clear();
  for (const panel of [call, keys, sessions, change]) panel.clear();
  form.reset();
  tellEnd(reason, error, elsewhere);
  render();
  fields.username.focus();
});

function tellEnd(reason, error, elsewhere) {
  const here = elsewhere ? " in another tab" : "";
  switch (reason) {
    case ENDED.expired:
      notice("bad", "Your session has ended.", "The refresh token has run out as well. Log in again to go on.");
      logbook.write("bad", "Session ended.", "The refresh token has run out.");
      break;
    case ENDED.refused: {
      const id = error?.requestId ? ` Request id: ${error.requestId}.` : "";
      notice(
        "bad",
        "Your session has ended.",
        `The server refused the refresh token: it was used already, was revoked or has run out. Log in again to go on.${id}`,
      );
      logbook.write("bad", "Session ended.", "The server refused the refresh token.");
      break;
    }
    case ENDED.revoked:
      notice(
        "bad",
        "Your session was ended.",
        "You or somebody else ended it from another place, the password was changed, or a refresh token of it was used twice, " +
          "as happens when it was copied. The server refuses all its tokens, here and anywhere. If it was not you, log in and " +
          "change your password.",
      );
      logbook.write("bad", "Session ended.", "It was ended elsewhere: the server refuses all its tokens.");
      break;
    case ENDED.everywhere:
      notice("good", `You are logged out everywhere${here}.`, "All your sessions have ended, and none of their tokens is accepted any more.");
      logbook.write("note", "Logged out everywhere.", "No token of yours is accepted any more.");
      break;
    case ENDED.password:
      notice("good", `Your password was changed${here}.`, "All your sessions have ended. Log in with the new password to go on.");
      logbook.write("note", "Password changed.", "All your sessions have ended.");
      break;
    case ENDED.unreadable:
      notice("bad", "Your session could not be taken up again.", "What was stored cannot be read. Log in again.");
      break;
    default:
      if (error === null) {
        notice("good", `You are logged out${here}.`, "The server refuses both tokens from now on.");
        logbook.write("note", `Logged out${here}.`, "Both tokens are forgotten here and refused there from now on.");
      } else {
        const { title } = explain(error);
        notice(
          "warn",
          "You are logged out here, but the server does not know it.",
          `${title} This browser has forgotten the tokens; the refresh token stays good until it runs out.`,
        );
        logbook.write("bad", "Logged out here only.", title);
      }
  }
}

/* What the person does ------------------------------------------------------------------------ */

form.noValidate = true;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (submit.getAttribute("aria-disabled") === "true") return;
  const username = fields.username.value.trim();
  const password = fields.password.value;
  loginError();
  fieldError("username", username === "" ? "Enter your user name." : "");
  fieldError("password", password === "" ? "Enter your password." : "");
  const missing = Object.values(fields).find((field) => field.hasAttribute("aria-invalid"));
  if (missing !== undefined) {
    missing.focus();
    return;
  }
  submit.setAttribute("aria-disabled", "true");
  write(submit, "Logging in…");
  try {
    await session.logIn(username, password, form.elements.transport.value);
    find("#session-title").focus();
  } catch (error) {
    const { title, detail } = explain(error, {
      refused: { title: "Wrong user name or password.", detail: "Check both, then try again." },
    });
    loginError(title, detail);
    logbook.write("bad", "Log-in failed.", title);
    fields.password.select();
    fields.password.focus();
  } finally {
    submit.removeAttribute("aria-disabled");
    write(submit, "Log in");
  }
});

function showPassword(shown) {
  fields.password.type = shown ? "text" : "password";
  find("#reveal").setAttribute("aria-pressed", String(shown));
}

find("#reveal").addEventListener("click", () => showPassword(fields.password.type === "password"));

find("#renew").addEventListener("click", () => {
  // What fails is told as an event, wherever the wish to refresh came from.
  if (!session.refreshing) session.renew("asked").catch(() => undefined);
});

find("#logout").addEventListener("click", async () => {
  const failure = await session.logOut();
  if (failure === null || !session.loggedIn) return;
  const { title, detail } = explain(failure);
  notice(
    "warn",
    "You are still logged in.",
    `${title} Only the server can take the cookies out of this browser. ${detail}`,
  );
  logbook.write("bad", "Log-out failed.", title);
});

find("#automatic").addEventListener("change", ({ target }) => {
  session.automatic = target.checked;
  logbook.write(
    "note",
    target.checked ? "Automatic refresh is on." : "Automatic refresh is off.",
    target.checked ? "" : "The access token will run out.",
  );
});

find("#hello").addEventListener("click", async () => {
  const button = find("#hello");
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    call.asked("GET", HELLO, session.record.access);
    const answer = await session.send("GET", HELLO);
    if (!session.loggedIn) return;
    call.asked("GET", HELLO, session.record.access);
    call.answered(answer, answer.status < 400 ? "" : refusalWords(answer));
    const took = `${answer.status} after ${Math.max(1, Math.round(answer.latency))} ms.`;
    if (answer.status < 400) logbook.write("good", "GET /hello/ answered.", took);
    else logbook.write("bad", "GET /hello/ was refused.", took);
  } catch (error) {
    if (!session.loggedIn) return;
    call.failed(error);
    logbook.write("bad", "GET /hello/ failed.", explain(error).title);
  } finally {
    button.removeAttribute("aria-disabled");
  }
});

function refusalWords(answer) {
  const { title, detail } = explain(api.refusal(answer), {
    refused: session.stale
      ? { title: "The server refused the access token because it has run out.", detail: "Refresh it to go on." }
      : undefined,
  });
  return `${title} ${detail}`.trim();
}

addEventListener("online", () => {
  logbook.write("note", "This device is online again.");
  session.hurry();
  render();
});
addEventListener("offline", () => {
  logbook.write("bad", "This device is offline.", "Tokens keep running out meanwhile.");
  render();
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  session.wake();
  // Who comes back to this tab sees at once what happened to the session meanwhile.
  if (session.loggedIn) sessions.look();
});

render();
setInterval(tick, 1000);
await session.restore();
document.documentElement.dataset.ready = "true";
