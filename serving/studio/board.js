// The drawings: jobs that differ in their seed alone stand side by side.

import { get, picture, remove } from "./api.js";
import { compareTwo } from "./compare.js";
import { copy, element, find, save } from "./dom.js";
import { hasPicture, mediaOf, pictureOf } from "./media.js";
import { describeState, subject, title, when } from "./words.js";

const ENDED = ["done", "failed", "cancelled"];

export class Board {
  constructor(actions) {
    this.actions = actions;
    this.jobs = new Map();
    this.cards = new Map();
    this.groups = new Map();
    this.picked = [];
    find("#compare").addEventListener("click", () => compareTwo(this.picked.map((id) => this.jobs.get(id)), (job) => this.pictures.get(job.id)?.url));
    this.pictures = new Map();
  }

  get(id) { return this.jobs.get(id); }
  has(id) { return this.jobs.has(id); }
  waiting() { return [...this.jobs.values()].filter((job) => job.state === "queued").map((job) => job.id); }
  ready() { find("#empty").hidden = this.jobs.size > 0; }

  put(job) {
    const before = this.jobs.get(job.id);
    // What the last step said is still so, unless the job has ended or begins anew.
    const stage = before && job.state === "running" ? { stage: before.stage, step: before.step, steps: before.steps } : {};
    this.jobs.set(job.id, { ...stage, ...job });
    if (!this.cards.has(job.id)) this.add(job);
    this.show(job.id);
    this.ready();
  }

  remove(id) {
    const card = this.cards.get(id), group = card?.element.closest(".group");
    card?.element.remove();
    if (group && !group.querySelector(".card")) { this.groups.delete(group.dataset.key); group.remove(); }
    for (const map of [this.cards, this.jobs, this.pictures]) map.delete(id);
    this.pick(id, false);
    this.ready();
    if (location.pathname === `/job/${id}`) { history.replaceState({}, "", "/"); this.route(); }
  }

  step(id, data) {
    const job = this.jobs.get(id);
    Object.assign(job, { state: "running", stage: data.stage, step: data.step, steps: data.steps, eta_s: data.eta_s });
    if (data.total) Object.assign(job, { done: data.done, total: data.total });
    this.show(id);
  }

  preview(id, file) {
    this.jobs.get(id).preview = file;
    this.load(id);
  }

  // Loads the newest picture of a job; while one is on its way, only the newest of those that follow is fetched.
  async load(id) {
    const job = this.jobs.get(id), state = this.pictures.get(id) ?? {};
    this.pictures.set(id, state);
    const address = pictureOf(job);
    if (!address || state.shown === address || state.loading) return;
    state.loading = true;
    try {
      const url = await picture(address);
      if (state.url) setTimeout((old) => URL.revokeObjectURL(old), 2000, state.url);
      Object.assign(state, { url, shown: address });
      this.paint(id);
    } catch { /* replaced meanwhile */ }
    state.loading = false;
    if (this.jobs.has(id) && state.shown === address) this.load(id);
  }

  paint(id) {
    const { url } = this.pictures.get(id) ?? {};
    if (!url) return;
    const job = this.jobs.get(id), alt = `${subject(job)}, seed ${job.options.seed ?? 0}${ENDED.includes(job.state) ? "" : ", growing"}`;
    for (const frame of document.querySelectorAll(`[data-picture="${id}"]`)) {
      let image = frame.querySelector("img");
      if (!image) {
        image = element("img");
        // A sheet of many pictures takes the whole width: in a square nothing of it could be seen.
        image.addEventListener("load", () => frame.closest(".card")?.classList.toggle("wide", image.naturalWidth > 2 * image.naturalHeight));
        frame.querySelector(".hint")?.remove(); frame.prepend(image);
      }
      image.src = url;
      image.alt = alt;
    }
  }

  key(job) {
    const { seed, ...rest } = job.options;
    return JSON.stringify([job.method, rest, Object.values(job.files).map((file) => file.sha256)]);
  }

  add(job) {
    const key = this.key(job);
    let group = this.groups.get(key);
    if (!group) {
      const cards = element("div", { class: "cards" });
      const head = element("header", {}, element("h3", {}, subject(job)), element("span", { class: "when" }, `${title(job.method)}, ${when(job.submitted)}`));
      group = { element: element("section", { class: "group", "aria-label": subject(job) }, head, cards), cards };
      group.element.dataset.key = key;
      this.groups.set(key, group);
    }
    find("#groups").prepend(group.element);
    const card = this.card(job);
    this.cards.set(job.id, card);
    const later = [...group.cards.children].find((other) => Number(other.dataset.seed) > (job.options.seed ?? 0));
    group.cards.insertBefore(card.element, later ?? null);
  }

  card(job) {
    const frame = element("a", { class: "picture", href: `/job/${job.id}`, "data-job": job.id, "data-picture": job.id, "aria-label": `Open ${subject(job)}, seed ${job.options.seed ?? 0}` },
      element("span", { class: "hint" }, "…"));
    const bar = element("progress", { max: 1, value: 0, "aria-label": `Progress of ${subject(job)}, seed ${job.options.seed ?? 0}` });
    const state = element("span");
    const seed = "seed" in job.options ? element("strong", {}, `Seed ${job.options.seed} `) : null;
    const actions = element("div", { class: "actions" });
    const card = { element: element("article", { class: "card" }, frame, bar, element("p", { class: "line" }, seed, state), actions), bar, state, actions, shown: "" };
    card.element.dataset.seed = job.options.seed ?? 0;
    card.element.dataset.id = job.id;
    return card;
  }

  show(id) {
    const job = this.jobs.get(id), card = this.cards.get(id);
    card.state.textContent = describeState(job);
    card.state.className = `state ${job.state}`;
    card.element.dataset.state = job.state;
    card.bar.hidden = ENDED.includes(job.state);
    card.bar.max = job.total || job.steps || 1;
    card.bar.value = (job.total ? job.done : job.step) || 0;
    const hint = card.element.querySelector(".hint");
    if (hint) hint.textContent = { queued: "waits", running: "begins", failed: "no picture", cancelled: "cancelled", done: "no picture" }[job.state];
    // Rebuilt only when they change: a button that is replaced under the pointer cannot be pressed.
    const kind = `${job.state}${job.cancelling}`;
    if (card.shown !== kind) { card.shown = kind; card.actions.replaceChildren(...this.buttons(job)); }
    if (job.outputs.length || job.preview) this.load(id);
    if (this.open === id) this.detail(job);
  }

  buttons(job) {
    const button = (text, onclick, disabled = false) => element("button", { type: "button", onclick, disabled, "aria-label": `${text}: ${subject(job)}, seed ${job.options.seed ?? 0}` }, text);
    if (!ENDED.includes(job.state)) return [button("Cancel", () => this.actions.cancel(job), job.cancelling)];
    if (job.state !== "done") return [button("Try again", () => this.actions.retry(job)), button("Delete", () => remove(`/v1/jobs/${job.id}`))];
    const box = element("input", { type: "checkbox", checked: this.picked.includes(job.id), onchange: (event) => this.pick(job.id, event.target.checked) });
    return [...this.downloads(job), element("label", { class: "pick" }, box, "compare")];
  }

  downloads(job) {
    const buttons = job.outputs.map((output) => {
      const kind = output.name.split(".").pop().toUpperCase();
      return element("button", { type: "button", "aria-label": `Download ${kind}: ${subject(job)}, seed ${job.options.seed ?? 0}`, onclick: () => this.download(job, output) }, kind);
    });
    const svg = job.outputs.find((output) => output.name.endsWith(".svg"));
    if (svg && !job.outputs.some((output) => output.name.endsWith(".png"))) {
      buttons.push(element("button", { type: "button", "aria-label": `Download PNG: ${subject(job)}`, onclick: () => this.png(job, svg) }, "PNG"));
    }
    return buttons;
  }

  async download(job, output) {
    const url = await picture(`/v1/jobs/${job.id}/files/${encodeURIComponent(output.name)}`);
    save(url, output.name.replace(/(\.\w+)$/, `-${job.options.seed ?? 0}$1`));
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  // A PNG of an SVG whose method writes none, 1024 pixels along its longer side.
  async png(job, output) {
    const image = element("img", { src: await picture(`/v1/jobs/${job.id}/files/${encodeURIComponent(output.name)}`) });
    await image.decode();
    const scale = 1024 / Math.max(image.naturalWidth || 512, image.naturalHeight || 512);
    const canvas = element("canvas", { width: Math.round((image.naturalWidth || 512) * scale), height: Math.round((image.naturalHeight || 512) * scale) });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(URL.createObjectURL(blob), output.name.replace(/\.svg$/, ".png")), "image/png");
  }

  pick(id, on) {
    this.picked = this.picked.filter((other) => other !== id);
    if (on) this.picked.push(id);
    while (this.picked.length > 2) {
      const dropped = this.picked.shift();
      const box = this.cards.get(dropped)?.element.querySelector(".pick input");
      if (box) box.checked = false;
    }
    find("#compare").disabled = this.picked.length !== 2;
  }

  // Shows what was just asked for: below the form, on a phone, nobody would see it begin.
  showNew(job) {
    this.showList();
    if (matchMedia("(max-width: 900px)").matches) this.cards.get(job.id)?.element.closest(".group").scrollIntoView({ block: "start" });
  }

  showList() { if (location.pathname !== "/") { history.pushState({}, "", "/"); this.route(); } }

  // Shows what the address names: a job, or the list.
  async route() {
    const match = location.pathname.match(/^\/job\/([\w-]+)$/);
    this.open = match?.[1] ?? null;
    find("#detail").hidden = !this.open;
    document.title = "tgm studio";
    if (!this.open) return;
    try {
      if (!this.jobs.has(this.open)) this.put(await get(`/v1/jobs/${this.open}`));
      this.detail(this.jobs.get(this.open), true);
    } catch (problem) {
      find("#detail").replaceChildren(element("p", { class: "error" }, problem.message));
    }
  }

  detail(job, focus = false) {
    const kind = `${job.id}${job.state}${job.cancelling}`, place = find("#detail");
    if (place.dataset.shown !== kind || focus) {
      place.dataset.shown = kind;
      place.replaceChildren(...this.sheet(job));
      this.paint(job.id);
      document.title = `${subject(job)}: tgm studio`;
      if (focus) { place.querySelector("h2").focus(); place.scrollIntoView({ block: "start" }); }
    }
    place.querySelector(".state").textContent = describeState(job);
    const bar = place.querySelector("progress");
    bar.hidden = ENDED.includes(job.state);
    bar.max = job.total || job.steps || 1;
    bar.value = (job.total ? job.done : job.step) || 0;
  }

  sheet(job) {
    const frame = element("div", { class: "picture", "data-picture": job.id }, element("span", { class: "hint" }, job.state === "done" ? "no picture" : "no picture yet"));
    const shown = element("div", { class: "shown" }, ...(job.state === "done" ? mediaOf(job) : []), hasPicture(job) && frame);
    const rows = Object.entries(job.options).filter(([name, value]) => value !== null && value !== "" && name !== "out")
      .flatMap(([name, value]) => [element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, Array.isArray(value) ? value.join(", ") : String(value))]);
    const command = element("button", { type: "button" }, "Copy command");
    command.addEventListener("click", () => copy(job.command, command));
    const address = element("button", { type: "button" }, "Copy link");
    address.addEventListener("click", () => copy(`${location.origin}/job/${job.id}`, address));
    const buttons = ENDED.includes(job.state) ? (job.state === "done" ? this.downloads(job) : this.buttons(job)) : this.buttons(job);
    const about = element("div", {},
      element("p", { class: "line" }, element("span", { class: `state ${job.state}` })), element("progress", { max: 1, value: 0, "aria-label": "Progress" }),
      element("div", { class: "actions" }, ...buttons, address),
      element("dl", {}, ...rows),
      element("p", { class: "name" }, job.state === "done" ? "The command that draws the same bytes on this machine" : "The same as a command"),
      element("code", {}, job.command ?? ""), element("div", { class: "actions" }, command));
    return [
      element("header", { class: "tools" }, element("h2", { tabIndex: -1 }, `${subject(job)}`), element("a", { href: "/", "data-home": true }, "All drawings")),
      element("div", { class: "sheet" }, shown, about),
    ];
  }
}
