/** The sessions of one person, as the server lists them: which is this one, and what each looks like in words. */

/**
 * @typedef {object} Listed
 * @property {string} id
 * @property {boolean} current
 * @property {string} device    in words
 * @property {string} address   empty when the server did not tell
 * @property {number | null} createdAt   milliseconds
 * @property {number | null} lastUsedAt  milliseconds
 * @property {number | null} expiresAt   milliseconds
 */

/**
 * Read the server's list: this session first, then the one used last.
 *
 * @param {unknown} body
 * @returns {Listed[]}
 */
export function readSessions(body) {
  const entries = /** @type {{sessions?: unknown}} */ (body ?? {}).sessions;
  if (!Array.isArray(entries)) return [];
  return entries
    .filter((entry) => typeof entry?.id === "string")
    .map((entry) => ({
      id: entry.id,
      current: entry.current === true,
      device: describeAgent(entry.agent),
      address: typeof entry.address === "string" ? entry.address : "",
      createdAt: moment(entry.created_at),
      lastUsedAt: moment(entry.last_used_at),
      expiresAt: moment(entry.expires_at),
    }))
    .sort((one, other) => Number(other.current) - Number(one.current) || (other.lastUsedAt ?? 0) - (one.lastUsedAt ?? 0));
}

function moment(value) {
  const milliseconds = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(milliseconds) ? null : milliseconds;
}

/** Most browsers also say that they are others: the first that fits is the one. */
const PROGRAMS = [
  [/\bEdgA?\//, "Edge"],
  [/\bOPR\//, "Opera"],
  [/\bFirefox\/|\bFxiOS\//, "Firefox"],
  [/Chrom(e|ium)\/|\bCriOS\//, "Chrome"],
  [/\bSafari\//, "Safari"],
  [/^curl\//, "curl"],
  [/^python|^httpx/i, "a Python program"],
];
const SYSTEMS = [
  [/\bAndroid\b/, "Android"],
  [/\b(iPhone|iPad)\b/, "iOS"],
  [/\bWindows\b/, "Windows"],
  [/\bMac OS X\b|\bMacintosh\b/, "macOS"],
  [/\bLinux\b/, "Linux"],
];

/**
 * A User-Agent in words: `Firefox on Linux`. It is only what the visitor said of itself.
 *
 * @param {unknown} agent
 * @returns {string}
 */
export function describeAgent(agent) {
  if (typeof agent !== "string" || agent.trim() === "") return "an unnamed program";
  const program = PROGRAMS.find(([pattern]) => pattern.test(agent))?.[1];
  const system = SYSTEMS.find(([pattern]) => pattern.test(agent))?.[1];
  const named = program ?? (agent.length > 40 ? `${agent.slice(0, 40)}…` : agent);
  return system === undefined ? named : `${named} on ${system}`;
}
