// A digit of 28 x 28 pixels, and what of it is hidden: painted by pointer or by keys.

import { element, announce } from "./dom.js";

const SIDE = 28, SCALE = 12;
const TOOLS = [["digit", "Draw digit"], ["mask", "Hide"], ["erase", "Erase"]];

export class Painter {
  constructor() {
    this.ink = new Float32Array(SIDE * SIDE);
    this.hidden = new Uint8Array(SIDE * SIDE);
    this.tool = "digit";
    this.cursor = [14, 14];
    this.canvas = element("canvas", {
      width: SIDE * SCALE, height: SIDE * SCALE, tabIndex: 0, role: "application",
      "aria-label": "Digit of 28 by 28 pixels. Arrow keys move, space paints with the chosen tool.",
    });
    const tools = TOOLS.map(([value, name]) => element("label", {},
      element("input", { type: "radio", name: "tool", value, checked: value === "digit", onchange: () => { this.tool = value; } }),
      element("span", {}, name)));
    this.tools = tools;
    const halves = ["top", "bottom", "left", "right"].map((side) => element("button", { type: "button", onclick: () => this.half(side) }, `Hide ${side}`));
    const example = element("button", { type: "button", onclick: () => this.seven() }, "A seven");
    const clear = element("button", { type: "button", onclick: () => this.clear() }, "Clear");
    this.element = element("fieldset", { class: "field paint" },
      element("legend", { class: "name" }, "Digit, and what of it is hidden"),
      element("div", { class: "segments" }, ...tools), this.canvas,
      element("div", { class: "row" }, ...halves, example, clear),
      element("span", { class: "help" }, "White is the digit, blue what is hidden and drawn anew."));
    this.listen();
    this.seven();
    this.half("bottom");
  }

  listen() {
    let last = null;
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width * SIDE, (event.clientY - box.top) / box.height * SIDE];
    };
    this.canvas.addEventListener("pointerdown", (event) => { this.canvas.setPointerCapture(event.pointerId); last = at(event); this.dab(...last); });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const [x, y] = at(event), steps = Math.ceil(Math.hypot(x - last[0], y - last[1]) * 2);
      for (let i = 1; i <= steps; i++) this.dab(last[0] + (x - last[0]) * i / steps, last[1] + (y - last[1]) * i / steps);
      last = [x, y];
    });
    for (const kind of ["pointerup", "pointercancel"]) this.canvas.addEventListener(kind, () => { last = null; });
    this.canvas.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!move && event.key !== " ") return;
      event.preventDefault();
      if (move) this.cursor = this.cursor.map((value, i) => Math.min(SIDE - 1, Math.max(0, value + move[i])));
      else { this.dab(this.cursor[0] + 0.5, this.cursor[1] + 0.5); announce(`${this.tool} at ${this.cursor.join(", ")}`); }
      this.show();
    });
    for (const kind of ["focus", "blur"]) this.canvas.addEventListener(kind, () => this.show());
  }

  dab(x, y) {
    const reach = this.tool === "digit" ? 1.5 : 2;
    for (let row = 0; row < SIDE; row++) {
      for (let column = 0; column < SIDE; column++) {
        const far = Math.hypot(column + 0.5 - x, row + 0.5 - y), i = row * SIDE + column;
        if (far > reach) continue;
        if (this.tool === "digit") this.ink[i] = Math.max(this.ink[i], Math.min(1, 1.6 - far));
        else if (this.tool === "mask") this.hidden[i] = 1;
        else { this.ink[i] = 0; this.hidden[i] = 0; }
      }
    }
    this.show();
  }

  half(side) {
    for (let i = 0; i < this.hidden.length; i++) {
      const row = Math.floor(i / SIDE), column = i % SIDE;
      this.hidden[i] = { top: row < 14, bottom: row >= 14, left: column < 14, right: column >= 14 }[side] ? 1 : 0;
    }
    this.show();
  }

  seven() {
    this.ink.fill(0);
    const before = this.tool;
    this.tool = "digit";
    for (let i = 0; i <= 40; i++) this.dab(7 + 13 * i / 40, 7);
    for (let i = 0; i <= 60; i++) this.dab(20 - 8 * i / 60, 7 + 16 * i / 60);
    this.tool = before;
    this.show();
  }

  clear() {
    this.ink.fill(0);
    this.hidden.fill(0);
    this.show();
  }

  show() {
    const context = this.canvas.getContext("2d");
    for (let i = 0; i < this.ink.length; i++) {
      const level = Math.round(this.ink[i] * 255);
      context.fillStyle = this.hidden[i] ? "rgb(92 135 199)" : `rgb(${level} ${level} ${level})`;
      context.fillRect(i % SIDE * SCALE, Math.floor(i / SIDE) * SCALE, SCALE, SCALE);
    }
    if (document.activeElement === this.canvas) {
      context.strokeStyle = "#ffb000";
      context.lineWidth = 2;
      context.strokeRect(this.cursor[0] * SCALE + 1, this.cursor[1] * SCALE + 1, SCALE - 2, SCALE - 2);
    }
  }

  digit() { return this.png((i) => Math.round(this.ink[i] * 255)); }

  mask() {
    if (!this.hidden.includes(1)) throw new Error("Nothing is hidden: paint over a part with Hide.");
    return this.png((i) => (this.hidden[i] ? 255 : 0));
  }

  png(level) {
    const canvas = element("canvas", { width: SIDE, height: SIDE }), context = canvas.getContext("2d");
    const pixels = context.createImageData(SIDE, SIDE);
    for (let i = 0; i < SIDE * SIDE; i++) pixels.data.set([level(i), level(i), level(i), 255], i * 4);
    context.putImageData(pixels, 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }
}
