"""The pictures of each caption, and how many of them the judge matches with it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import benchmarks.consistency
from benchmarks.consistency.captions import chosen_rows, read_captions
from benchmarks.consistency.evaluator import HELD_OUT, features_of, find_lite0, load_backbone, train_evaluator
from benchmarks.environment import describe_environment
from benchmarks.statistics import figures_of
from runtime.command.options import parse_options
from runtime.command.ranges import Count


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is judged, and where its pictures go."""

    icons: Path
    """Archive of train.data.icons, for the evaluator's training and for the real icons."""
    out: Path = Path("runs/consistency")
    """Folder of the pictures and of the evaluator's head."""
    bundle: str = "icons"
    """Bundle that is judged."""
    routes: tuple[str, ...] = ("trace", "scratch")
    """Routes that are run: trace, scratch."""
    workers: Count = 2
    """Processes that run side by side, each on its share of the cores."""
    captions: Path | None = None
    """Text file, a caption a line, among which each picture has to find its own; by default benchmarks/captions.txt."""
    lines: str = ""
    """Captions that are drawn, by their lines, such as 1-16,20; all others still count as wrong answers. By default
    all."""
    json: bool = False
    """Print one JSON object a line."""


def slug(caption: str) -> str:
    """Return a caption as a file name."""
    return "-".join("".join(c if c.isalnum() else " " for c in caption).split())


def run_commands(config: Config, route: str, captions: Sequence[str]) -> float:
    """Run the command for every caption that has no picture yet, several side by side; return the mean seconds."""
    folder = config.out / route
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [c for c in captions if not (folder / f"{slug(c)}.png").is_file()]
    threads = max(1, (torch.get_num_threads() or 1) // config.workers)
    running: list[tuple[str, float, subprocess.Popen]] = []
    seconds = []
    while waiting or running:
        while waiting and len(running) < config.workers:
            caption = waiting.pop(0)
            running.append((caption, time.monotonic(), _start(caption, route, config, threads)))
        time.sleep(0.1)
        for job in [job for job in running if job[2].poll() is not None]:
            running.remove(job)
            if job[2].returncode:
                raise RuntimeError(f"{job[0]!r} by {route}: exit code {job[2].returncode}\n{job[2].communicate()[1]}")
            seconds.append(time.monotonic() - job[1])
            print(f"{route}: {job[0]} ({len(waiting) + len(running)} left)", file=sys.stderr)
    return float(np.mean(seconds)) if seconds else float("nan")


def _start(caption: str, route: str, config: Config, threads: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "runtime.vectorfusion", caption, "--route", route, "--bundle", config.bundle]
    command += ["--out", f"{slug(caption)}.svg"]
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    return subprocess.Popen(
        command,
        env=environment,
        cwd=config.out / route,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_pictures(paths: list[Path]) -> Tensor:
    """Return PNG files as (N, 3, 128, 128) in [0, 1]."""
    from runtime.pictures import read_png

    pictures = [read_png(path)[None] for path in paths]
    return torch.cat([torch.nn.functional.interpolate(p, (128, 128), mode="area") for p in pictures])


def real_icons(archive: Path, captions: Sequence[str]) -> tuple[Tensor, list[int]]:
    """Return the held-out set's icons whose name is a caption without its article, and the captions' rows."""
    with np.load(archive) as file:
        names, sets, kinds = (file[k] for k in ("captions", "sets", "kinds"))
        pictures = file["pictures"]
    rows, indices = [], []
    for i, caption in enumerate(captions):
        name = SYNONYMS.get(caption) or caption.removeprefix("a ").removeprefix("an ").removeprefix("the ")
        rows_of_concept = np.flatnonzero((names == name) & (sets == HELD_OUT) & (kinds == "plain"))
        if len(rows_of_concept):
            rows.append(int(rows_of_concept[0]))
            indices.append(i)
    return torch.from_numpy(pictures[rows]).permute(0, 3, 1, 2).float() / 255.0, indices


SYNONYMS = {
    "a fire truck": "fire engine",
    "a slice of pizza": "pizza",
    "a tree": "deciduous tree",
    "a cup of coffee": "hot beverage",
    "a police car": "police car",
    "a red balloon": "balloon",
    "a train": "locomotive",
    "a soccer ball": "soccer ball",
    "a mountain": "snow-capped mountain",
    "the sun": "sun",
    "a snowman": "snowman without snow",
    "a cloud with rain": "cloud with rain",
    "a book": "closed book",
    "a key": "key",
    "an ice cream": "soft ice cream",
    "a dog": "dog",
}
"""Names of the icons that show a caption in other words."""


def sentence_encoder(bundle_name: str):
    """Return a function of texts that gives their (N, 384) unit sentence vectors, from the bundle's text encoder.

    A text that is too long for it loses its last words.
    """
    from runtime.engines.bundle import DiffusionBundle
    from runtime.engines.tokens import PromptTokenizer
    from runtime.errors import UserError

    bundle = DiffusionBundle.load(bundle_name)
    encoder, file = bundle.text_encoder(), bundle.folder / "text_encoder" / "tokenizer.json"
    tokenizer = PromptTokenizer(file.read_bytes(), bundle.manifest.text_length, file.name)

    def fitting(text: str) -> str:
        try:
            tokenizer([text])
        except UserError:
            return fitting(text.rsplit(" ", 1)[0]) if " " in text else ""
        return text

    def encode(texts: list[str]) -> Tensor:
        texts = [fitting(text) for text in texts]
        parts = [encoder(texts[i : i + 256])[:, 0] for i in range(0, len(texts), 256)]
        return torch.nn.functional.normalize(torch.cat(parts), dim=-1)

    return encode


def through_autoencoder(images: Tensor, bundle_name: str) -> Tensor:
    """Return pictures (N, 3, 128, 128) that a bundle has encoded and decoded, smoothed, in [0, 1]."""
    from runtime.engines.bundle import DiffusionBundle
    from runtime.vector.trace.smoothing import smooth

    bundle = DiffusionBundle.load(bundle_name)
    encode, decode = bundle.latent_encoder("none"), bundle.latent_decoder()
    with torch.no_grad():
        return smooth(torch.cat([decode(encode(part)) for part in images.split(16)])).clamp(0.0, 1.0)


def judge(config: Config) -> list[dict]:
    """Return a row for each kind of picture: hits, R-Precision with its standard error, mean similarity and seconds."""
    captions = read_captions(config.captions)
    chosen = chosen_rows(config.lines, len(captions)) if config.lines else list(range(len(captions)))
    drawn = [captions[row] for row in chosen]
    timings = {route: run_commands(config, route, drawn) for route in config.routes}
    encode, lite0 = sentence_encoder(config.bundle), find_lite0()
    head = train_evaluator(config.icons, encode, config.out / "evaluator.safetensors", lite0)
    backbone, sentences = load_backbone(lite0), encode(captions)
    icons, drawn_rows = real_icons(config.icons, drawn)
    icon_rows = [chosen[i] for i in drawn_rows]
    kinds = {
        "real icons": (icons, icon_rows, float("nan")),
        "real icons, encoded, decoded, smoothed": (through_autoencoder(icons, config.bundle), icon_rows, float("nan")),
    }
    if not icon_rows:
        kinds = {}
    if "trace" in config.routes:
        samples = [config.out / "trace" / "runs" / slug(c) / "sample.png" for c in drawn]
        kinds["raster samples"] = (read_pictures(samples), chosen, float("nan"))
    for route in config.routes:
        pictures = read_pictures([config.out / route / f"{slug(c)}.png" for c in drawn])
        kinds[f"SVG, {route}"] = (pictures, chosen, timings[route])
    rows = []
    with torch.no_grad():
        for kind, (pictures, own, seconds) in kinds.items():
            figures = figures_of(head(features_of(backbone, pictures), sentences).double().numpy(), own)
            rows.append(
                {
                    "pictures": kind,
                    "hits": figures.hits,
                    "count": figures.count,
                    "r_precision": round(figures.r_precision, 3),
                    "error": round(figures.r_precision_error, 3),
                    "similarity": round(figures.similarity, 3),
                    "seconds": None if np.isnan(seconds) else round(seconds, 1),
                }
            )
    return rows


def main() -> None:
    """Judge and print."""
    config = parse_options(Config, "benchmarks.consistency", description=benchmarks.consistency.__doc__)
    rows = judge(config)
    if not config.json:
        print(describe_environment())
        print("| pictures | hits | of | R-Precision | error | similarity | seconds each |\n" + "|---" * 7 + "|")
    for row in rows:
        values = [str(v) if v is not None else "" for v in row.values()]
        print(json.dumps(row) if config.json else "| " + " | ".join(values) + " |")
