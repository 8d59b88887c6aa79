// Talks to the server: calls, uploads, and the stream of events, which is opened again where it broke.

const KEY = "tgm-token";
let askForToken = async () => { throw new Error("no token"); };

export class Refused extends Error {
  constructor(message, status) { super(message); this.status = status; }
}

export function onTokenNeeded(ask) { askForToken = ask; }

function headers(extra = {}) {
  const token = sessionStorage.getItem(KEY);
  return token ? { ...extra, Authorization: `Bearer ${token}` } : extra;
}

export async function request(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers), cache: "no-store" });
  if (response.status === 401) {
    sessionStorage.setItem(KEY, await askForToken());
    return request(path, options);
  }
  if (!response.ok) {
    let message = `The server answered ${response.status}.`;
    try { message = (await response.json()).error ?? message; } catch { /* it was no JSON */ }
    throw new Refused(message, response.status);
  }
  return response;
}

export async function get(path) { return (await request(path)).json(); }

export async function post(path, value) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" } };
  if (value !== undefined) options.body = JSON.stringify(value);
  return (await request(path, options)).json();
}

export async function remove(path) { await request(path, { method: "DELETE" }); }

export async function upload(blob, name) {
  const response = await request("/v1/files", { method: "POST", body: blob });
  return { name, sha256: (await response.json()).sha256 };
}

// A picture as the address of a blob for <img>, in which no script of an SVG ever runs.
export async function picture(path) {
  const blob = await (await request(path)).blob();
  return URL.createObjectURL(blob);
}

// Calls `happened(kind, data)` for each event from `after` on, for ever; `link(isOpen)` says how the connection is.
export async function follow(after, happened, link) {
  let wait = 500;
  for (;;) {
    try {
      const response = await request("/v1/events", { headers: { "Last-Event-ID": String(after) } });
      link(true);
      wait = 500;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        const blocks = text.split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const fields = Object.fromEntries(block.split("\n").map((line) => {
            const at = line.indexOf(": ");
            return [line.slice(0, at), line.slice(at + 2)];
          }));
          if (!fields.data) continue;
          after = Number(fields.id);
          happened(fields.event, JSON.parse(fields.data));
        }
      }
    } catch { /* closed, or not there */ }
    link(false);
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 1.6, 5000);
  }
}
