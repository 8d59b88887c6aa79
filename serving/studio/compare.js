// Two drawings over each other, and in what their options differ.

import { element, find } from "./dom.js";
import { subject } from "./words.js";

export function compareTwo([left, right], urlOf) {
  if (!left || !right) return;
  const [a, b] = [find("#wipe-a"), find("#wipe-b")];
  for (const [image, job] of [[a, left], [b, right]]) {
    image.src = urlOf(job) ?? "";
    image.alt = `${subject(job)}, seed ${job.options.seed ?? 0}`;
  }
  const wipe = find("#wipe");
  // By the element's own style, which the policy of the page allows to scripts.
  wipe.oninput = () => { b.style.clipPath = `inset(0 0 0 ${100 - wipe.value}%)`; };
  wipe.oninput();
  const names = [...new Set([...Object.keys(left.options), ...Object.keys(right.options)])].filter((name) => name !== "out");
  const text = (value) => (value == null ? "" : Array.isArray(value) ? value.join(", ") : String(value));
  const rows = names.map((name) => {
    const [x, y] = [text(left.options[name]), text(right.options[name])];
    return element("tr", { class: x === y ? "" : "differs" }, element("th", { scope: "row" }, name.replaceAll("_", " ")), element("td", {}, x), element("td", {}, y));
  }).sort((x, y) => y.classList.contains("differs") - x.classList.contains("differs"));
  const head = element("tr", {}, element("th", { scope: "col" }, "Option"), element("th", { scope: "col" }, "Left"), element("th", { scope: "col" }, "Right"));
  find("#compare-table").replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  find("#compare-dialog").showModal();
}
