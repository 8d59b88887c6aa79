// The page: what the server has is shown, whoever asked for it, in this tab or another, before a restart or after.

import { follow, get, onTokenNeeded, post } from "./api.js";
import { Board } from "./board.js";
import { Composer } from "./compose.js";
import { announce, element, find } from "./dom.js";
import { subject } from "./words.js";

const EXAMPLES = ["a red apple", "a sailing boat", "a green cactus in a pot", "a sleeping cat"];
const board = new Board({ cancel: (job) => act(job, "cancel"), retry: (job) => act(job, "retry") });

onTokenNeeded(() => new Promise((resolve) => {
  const dialog = find("#token-dialog");
  dialog.showModal();
  dialog.addEventListener("close", () => resolve(find("#token").value), { once: true });
}));

async function act(job, what) {
  try { board.put(await post(`/v1/jobs/${job.id}/${what}`)); } catch (problem) { announce(problem.message); }
}

const fetching = new Map();

// Fetches a job, at most four times a second.
function refresh(id) {
  if (fetching.has(id)) { fetching.set(id, true); return; }
  fetching.set(id, false);
  setTimeout(async () => {
    try { board.put(await get(`/v1/jobs/${id}`)); } catch { /* deleted, or the server has gone */ }
    const again = fetching.get(id);
    fetching.delete(id);
    if (again) refresh(id);
  }, 250);
}

function happened(kind, data) {
  if (kind === "deleted") return board.remove(data.job);
  if (kind === "step" && board.has(data.job)) return board.step(data.job, data);
  if (kind === "preview" && board.has(data.job)) return board.preview(data.job, data.file);
  if (kind === "note") return undefined;
  if (["done", "failed", "cancelled"].includes(kind)) {
    const job = board.get(data.job);
    announce(job ? `${subject(job)}, seed ${job.options.seed ?? 0}: ${kind}` : `A job is ${kind}`);
    for (const other of board.waiting()) refresh(other);
  }
  return refresh(data.job);
}

function link(isOpen) {
  find("#status").className = `status ${isOpen ? "on" : "off"}`;
  find("#status-text").textContent = isOpen ? "connected" : "offline";
  find("#offline").hidden = isOpen;
}

async function start() {
  let list;
  for (;;) {
    try {
      const { methods } = await get("/v1/methods");
      list = await get("/v1/jobs?limit=200");
      const composer = new Composer(methods, (job) => { board.put(job); board.showNew(job); });
      find("#examples").replaceChildren(...EXAMPLES.map((text) => element("button", { type: "button", onclick: () => composer.set(text) }, text)));
      break;
    } catch {
      link(false);
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
  for (const job of list.jobs.reverse()) board.put(job);
  board.ready();
  await board.route();
  // Positions and times of those that wait change with the others.
  setInterval(() => { for (const id of board.waiting()) refresh(id); }, 4000);
  await follow(list.last_event, happened, link);
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a[data-job], a[data-home]");
  if (!anchor || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState({}, "", anchor.getAttribute("href"));
  board.route();
});
addEventListener("popstate", () => board.route());
start();
