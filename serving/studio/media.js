// What a job has made, as it can be shown: a picture, a film, a solid.

import { picture, request } from "./api.js";
import { element } from "./dom.js";
import { Solid } from "./solid.js";
import { subject } from "./words.js";

const address = (job, output) => `/v1/jobs/${job.id}/files/${encodeURIComponent(output.name)}`;
const ending = (job, suffix) => job.outputs.find((output) => output.name.endsWith(suffix));

// The address of the picture of a job: its result, or else the last drawing on the way; undefined where there is none.
export function pictureOf(job) {
  const output = job.outputs.find((file) => file.type.startsWith("image/"));
  return output ? address(job, output) : job.preview ? `/v1/jobs/${job.id}/preview?of=${job.preview}` : undefined;
}

// Whether a job has a result that is no picture: then its own view shows that in place of a drawing on the way.
export function hasPicture(job) {
  return job.state !== "done" || !(ending(job, ".glb") || ending(job, ".mp4")) || job.outputs.some((file) => file.type.startsWith("image/"));
}

// Elements that show the solid and the film of a job.
export function mediaOf(job) {
  const glb = ending(job, ".glb"), mp4 = ending(job, ".mp4");
  return [glb && solid(job, glb), mp4 && film(job, mp4)].filter(Boolean);
}

function solid(job, output) {
  const shown = new Solid(subject(job));
  request(address(job, output)).then((response) => response.arrayBuffer()).then((buffer) => shown.load(buffer))
    .catch((problem) => { shown.note.textContent = problem.message; });
  return shown.element;
}

function film(job, output) {
  const video = element("video", { controls: true, loop: true, muted: true, playsInline: true, "aria-label": `Film of ${subject(job)}` });
  picture(address(job, output)).then((url) => { video.src = url; }).catch(() => { video.hidden = true; });
  return element("div", { class: "picture film" }, video);
}
