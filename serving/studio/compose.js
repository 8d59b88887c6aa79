// The form: a method's options out of its schema, with better controls for those that people set most.

import { post, upload } from "./api.js";
import { element, find, announce } from "./dom.js";
import { Painter } from "./paint.js";
import { inGroups, title } from "./words.js";

const STYLES = [
  ["", "As the bundle's pictures"], [", minimal flat vector icon", "Minimal flat"], [", simple flat icon", "Simple flat"],
  [", cartoon icon", "Cartoon"], [" ", "As written"],
];
const FIRST = ["prompt", "text", "preset", "shape", "capture", "first", "second", "picture", "hide", "count", "samples", "paths"];
const FEW = ["prompt", "preset"]; // of a method that takes a prompt: the rest is seldom set
const HIDDEN = ["seed", "bundle", "rasterizer", "gradients"];

export class Composer {
  constructor(methods, submitted) {
    // A method without a bundle of its kind cannot be done here.
    this.methods = methods = methods.filter((method) => !method.kind || method.bundles.length);
    this.submitted = submitted;
    this.controls = new Map();
    find("#form").addEventListener("submit", (event) => { event.preventDefault(); this.submit(); });
    const groups = inGroups(methods);
    this.choose(groups[0][1][0]);
    find("#methods").replaceChildren(...groups.map(([name, members]) => element("div", {},
      groups.length > 1 && element("span", { class: "group-name" }, name),
      element("div", { class: "methods" }, ...members.map((method) => this.tab(method))))));
  }

  tab(method) {
    const input = element("input", { type: "radio", name: "method", value: method.name, checked: method === this.method, onchange: () => this.choose(method) });
    return element("label", {}, input, element("span", {}, title(method.name)));
  }

  choose(method) {
    this.method = method;
    this.controls.clear();
    find("#summary").textContent = `${method.summary}.`;
    find("#form-error").hidden = true;
    const options = Object.entries(method.options.properties);
    const first = method.options.properties.prompt ? FEW : FIRST, painted = method.name === "lmconv_complete";
    const main = options.filter(([name]) => first.includes(name) || method.options.required.includes(name));
    main.sort(([a], [b]) => (first.indexOf(a) + 99) % 99 - (first.indexOf(b) + 99) % 99);
    const replaced = (name) => painted && ["picture", "hide", "truth", "invert"].includes(name);
    const fields = painted ? [this.painter()] : [];
    fields.push(...main.filter(([name]) => !replaced(name)).map(([name, option]) => this.field(name, option)));
    if (method.options.properties.prompt) fields.push(this.style());
    if (method.options.properties.seed) fields.push(this.seeds());
    find("#fields").replaceChildren(...fields);
    const more = options.filter(([name]) => name !== "seed" && !replaced(name) && !main.some(([other]) => other === name));
    more.sort(([a], [b]) => HIDDEN.includes(a) - HIDDEN.includes(b));
    find("#more-fields").replaceChildren(...more.map(([name, option]) => this.field(name, option)));
    find("#more").hidden = more.length === 0;
    find("#more").open = false;
  }

  field(name, option) {
    const words = name.replaceAll("_", " ");
    const head = element("span", { class: "name" }, words[0].toUpperCase() + words.slice(1));
    const help = element("span", { class: "help" }, name === "prompt" ? "Enter draws it." : option.description);
    if (name === "bundle" && this.method.bundles.length) option = { ...option, enum: this.method.bundles };
    if (option.format === "file") return this.file(name, option, head, help);
    if (option.enum && option.enum.length <= 3 && option.default !== null && !this.byPreset(name)) return this.choice(name, option, head, help);
    if (option.type === "boolean") {
      const box = element("input", { type: "checkbox", checked: option.default });
      const before = box.checked;
      this.controls.set(name, () => (this.byPreset(name) && box.checked === before ? undefined : box.checked));
      return element("label", { class: "field" }, element("span", { class: "name" }, box, " ", head.textContent), help);
    }
    const control = this.input(name, option);
    const field = element("label", { class: "field" }, head, control, help);
    return this.method.texts_or_files.includes(name) ? this.textOrFile(name, option, field) : field;
  }

  // Whether a preset decides the default of an option: what nobody has changed must then not be sent.
  byPreset(name) { return this.method.selectors.length > 0 && !this.method.selectors.includes(name) && name !== "bundle"; }

  input(name, option) {
    if (option.enum) {
      const whole = typeof option.enum[0] === "number", free = this.byPreset(name) || option.default === null;
      const select = element("select", {}, free && element("option", { value: "" }, "default"),
        ...option.enum.map((value) => element("option", { value }, String(value))));
      select.value = free ? "" : option.default ?? option.enum[0];
      this.controls.set(name, () => (select.value === "" ? undefined : whole ? Number(select.value) : select.value));
      return select;
    }
    if (option.type === "integer" || option.type === "number") {
      // Empty means the default of the preset, which the server knows.
      const input = element("input", {
        type: "number", min: option.minimum ?? "", max: option.maximum ?? "", step: option.type === "integer" ? 1 : "any",
        placeholder: option.default == null || this.method.selectors.length ? "default" : String(option.default),
      });
      this.controls.set(name, () => (input.value === "" ? undefined : Number(input.value)));
      return input;
    }
    if (option.type === "array") {
      const input = element("input", { type: "text", placeholder: (option.default ?? []).join(" ") });
      this.controls.set(name, () => (input.value.trim() ? input.value.trim().split(/[\s,]+/).map(Number) : undefined));
      return input;
    }
    const long = name === "prompt";
    const input = element(long ? "textarea" : "input", { placeholder: long ? "a red apple" : option.default ?? "", maxLength: 500 });
    if (!long) input.type = "text";
    if (long) {
      input.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); find("#form").requestSubmit(); }
      });
    }
    this.controls.set(name, () => input.value.trim() || undefined);
    return input;
  }

  choice(name, option, head, help) {
    const inputs = option.enum.map((value) => element("input", { type: "radio", name, value, checked: value === (option.default ?? option.enum[0]) }));
    this.controls.set(name, () => option.enum[inputs.findIndex((input) => input.checked)]);
    const legend = element("legend", { class: "name" }, head.textContent);
    const segments = inputs.map((input) => element("label", {}, input, element("span", {}, input.value)));
    return element("fieldset", { class: "field" }, legend, element("div", { class: "segments" }, ...segments), help);
  }

  // A text, or in its place a file: words or a picture, a region's name or a mask.
  textOrFile(name, option, label) {
    const text = this.controls.get(name);
    const head = element("span", { class: "name quiet" }, `${label.querySelector(".name").textContent}, as a file`);
    const box = this.file(name, option, head, null, "Or drop a picture here, or choose one");
    const file = this.controls.get(name);
    this.controls.set(name, async () => (await file()) ?? text());
    return element("div", {}, label, box);
  }

  file(name, option, head, help, words) {
    const input = element("input", { type: "file", "aria-label": head.textContent });
    const text = element("span", {}, words ?? (name === "capture" ? "Drop a .zip of the folder here, or choose one" : "Drop a file here, or choose one"));
    const box = element("div", { class: "drop" }, text, input);
    let chosen = null;
    const take = (file) => {
      if (!file) return;
      chosen = file;
      box.querySelector("img")?.remove();
      if (file.type.startsWith("image/")) box.prepend(element("img", { src: URL.createObjectURL(file), alt: "" }));
      text.textContent = file.name;
    };
    input.addEventListener("change", () => take(input.files[0]));
    for (const kind of ["dragover", "dragleave", "drop"]) {
      box.addEventListener(kind, (event) => {
        event.preventDefault();
        box.classList.toggle("over", kind === "dragover");
        if (kind === "drop") take(event.dataTransfer.files[0]);
      });
    }
    this.controls.set(name, async () => (chosen ? upload(chosen, chosen.name) : undefined));
    return element("div", { class: "field" }, head, box, help);
  }

  painter() {
    const painter = new Painter();
    this.controls.set("picture", async () => upload(await painter.digit(), "digit.png"));
    this.controls.set("hide", async () => upload(await painter.mask(), "mask.png"));
    return painter.element;
  }

  style() {
    const select = element("select", {}, ...STYLES.map(([value, name]) => element("option", { value }, name)));
    this.controls.set("style", () => select.value);
    return element("label", { class: "field" }, element("span", { class: "name" }, "Style"), select);
  }

  seeds() {
    const first = element("input", { type: "number", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, value: 0 });
    const several = this.method.name === "vectorfusion"; // seconds each: others take minutes
    const count = element("select", {}, ...[1, 2, 3, 4].map((n) => element("option", { value: n }, n === 1 ? "one drawing" : `${n} side by side`)));
    count.value = several ? 4 : 1;
    this.controls.set("seed", () => Array.from({ length: Number(count.value) }, (_, i) => Number(first.value || 0) + i));
    return element("div", { class: "pair" },
      element("label", { class: "field" }, element("span", { class: "name" }, "First seed"), first),
      element("label", { class: "field" }, element("span", { class: "name" }, "Seeds"), count));
  }

  // Fills a value in, as the examples do.
  set(prompt) {
    const box = find("#fields textarea");
    if (box) { box.value = prompt; box.focus(); }
  }

  async submit() {
    const error = find("#form-error"), button = find("#submit");
    error.hidden = true;
    button.disabled = true;
    try {
      const options = {};
      for (const [name, value] of this.controls) {
        const given = await value();
        if (given !== undefined) options[name] = given;
      }
      const plain = typeof options.prompt === "string" && !options.prompt.includes(",");
      // A comma alone: the bundle adds no words of its own to a prompt that has one.
      if (plain) options.prompt += (options.style ?? "").trimEnd() || (options.style ? "," : "");
      delete options.style;
      const seeds = options.seed ?? [null];
      for (const seed of seeds) {
        if (seed === null) delete options.seed; else options.seed = seed;
        this.submitted(await post("/v1/jobs", { method: this.method.name, options }));
      }
      announce(`${seeds.length === 1 ? "One job" : `${seeds.length} jobs`} submitted`);
    } catch (problem) {
      error.textContent = problem.message;
      error.hidden = false;
    } finally {
      button.disabled = false;
    }
  }
}
