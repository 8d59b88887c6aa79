// How things are said: names of methods, times, states.

const GROUPS = {
  Drawings: { vectorfusion: "Text to SVG", vectorize: "Trace a picture", clipdraw: "Text to SVG, CLIPDraw" },
  "Three dimensions": {
    lift: "Words or a picture to 3D", nerf: "Photos to 3D", pixelnerf: "A picture to 3D", dreamfusion: "DreamFusion",
    dreamfields: "Dream Fields",
  },
  Pixels: {
    lmconv_complete: "Complete a digit", lmconv_sample: "Draw digits", ddpm_sample: "Sample icons", ddpm_complete: "Complete a picture",
    ddpm_interpolate: "Blend two pictures", ddpm_codec: "Compress a picture",
  },
};
const TITLES = Object.assign({}, ...Object.values(GROUPS));

export function title(method) {
  const words = method.replaceAll("_", " ");
  return TITLES[method] ?? words[0].toUpperCase() + words.slice(1);
}

// Groups of methods with a name each; those that this page has not heard of are the last group.
export function inGroups(methods) {
  const groups = Object.entries(GROUPS).map(([name, titles]) => {
    const order = Object.keys(titles);
    return [name, methods.filter((method) => order.includes(method.name)).sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))];
  });
  groups.push(["More", methods.filter((method) => !(method.name in TITLES))]);
  return groups.filter(([, members]) => members.length);
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function when(seconds) {
  const date = new Date(seconds * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

export function subject(job) {
  const { options, files } = job;
  if (options.prompt || options.text) return options.prompt || options.text;
  const file = Object.values(files)[0];
  return file ? file.name : title(job.method);
}

export function describeState(job) {
  const left = job.eta_s == null ? "" : `, about ${duration(job.eta_s)} left`;
  if (job.state === "queued") {
    if (job.done > 0) return `Waits to go on at step ${job.done} of ${job.total}`;
    return job.position ? `Queued, ${job.position} before it${left}` : `Next in the queue${left}`;
  }
  if (job.state === "running") {
    if (job.cancelling) return "Stopping after this step";
    if (!job.stage) return job.done > 0 ? "Going on where it stood" : "Starting";
    if (job.total && job.done === job.total) return "Writing the files";
    return `${job.stage} ${job.step} of ${job.steps}${left}`;
  }
  if (job.state === "done") return `Done in ${duration(job.seconds)}`;
  if (job.state === "failed") return `Failed: ${job.message}`;
  return "Cancelled";
}
