"""Drawings on the way: the real thing at that step, now and then, written where a server can show it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.command.method import Method
from runtime.loop.events import Event, Note, Sampled, Stepped

PREVIEW_S = 0.5
"""Seconds between two previews, at least."""

SHARE = 0.05
"""Largest share of a run's time that its previews may take: one that is slow to make comes more rarely."""

STEP_S = 0.2
"""Seconds between two reports of a step, at least."""

REPORTS = 400
"""About how many steps a run reports in the time that it has taken so far: the log of a long run stays small."""


class Previews:
    """Turns the events of a run into reports for a client: steps, notes and previews, each not too often.

    Args:
        folder: where previews are written; only the last two stay.
        send: takes a report: its kind and its data.
        clock: seconds.
    """

    def __init__(self, folder: Path, send: Callable[[str, dict[str, Any]], None], clock: Any = time.monotonic) -> None:
        self.folder, self.send, self.clock = folder, send, clock
        self.began_at = clock()
        self.drawn_at, self.drawn_s = -PREVIEW_S, 0.0
        self.reported_at = -STEP_S
        self.works = True
        self.number = 0

    def __call__(self, event: Event, method: Method[Any], config: Any, bundle: Any) -> None:
        """Report an event."""
        if isinstance(event, Note):
            self.send("note", {"text": event.text})
        elif isinstance(event, Sampled):
            self.step("sample", event.step, event.steps, 0, 0)
            self.preview(lambda stem: _write_samples(event, stem))
        elif isinstance(event, Stepped):
            last = event.done == event.total
            self.step(event.stage, event.step, event.steps, event.done, event.total, event, last=last)
            # The first step shows what the run begins with; the last is about to be written as the result.
            if not last:
                self.preview(lambda stem: draw_preview(method, config, bundle, event.scene, stem))

    def step(
        self, stage: str, step: int, steps: int, done: int, total: int, event: Stepped | None = None, *, last=False
    ) -> None:
        """Report a step, unless the last report was a moment ago."""
        now = self.clock()
        if not last and now - self.reported_at < max(STEP_S, (now - self.began_at) / REPORTS):
            return
        self.reported_at = now
        data: dict[str, Any] = {"stage": stage, "step": step, "steps": steps, "done": done, "total": total}
        if event is not None:
            # NaN is no JSON: after the first step nobody knows yet.
            data["eta_s"] = round(event.eta_s, 3) if event.eta_s == event.eta_s else None
            data["loss"] = event.loss if event.terms else None
        self.send("step", data)

    def preview(self, make: Callable[[Path], Path]) -> None:
        """Write a preview and report its file, unless the last one was a moment ago or took too long."""
        began = self.clock()
        if not self.works or began - self.drawn_at < max(PREVIEW_S, self.drawn_s / SHARE):
            return
        self.folder.mkdir(exist_ok=True)
        if self.number == 0:
            # An earlier attempt at the job has left some: numbers continue, so that the last one is the newest.
            self.number = 1 + max((int(old.stem) for old in self.folder.iterdir() if old.stem.isdigit()), default=0)
        try:
            path = make(self.folder / f"{self.number:06d}")
        # A picture on the way must not cost the run, whatever is wrong with it.
        except Exception as error:
            self.works = False
            self.send("note", {"text": f"no previews: {type(error).__name__}: {error}"[:300]})
            return
        self.number += 1
        for old in sorted(self.folder.iterdir())[:-2]:
            old.unlink(missing_ok=True)
        self.drawn_at = self.clock()
        self.drawn_s = self.drawn_at - began
        self.send("preview", {"file": path.name})


def draw_preview(method: Method[Any], config: Any, bundle: Any, scene: Any, stem: Path) -> Path:
    """Write a scene on the way; return the file: the method's snapshot, or else its result as it is now."""
    if method.snapshot is not None:
        return method.snapshot(config, bundle, scene, stem)
    first, *others = method.write(config, bundle, scene, stem.with_suffix(method.suffixes(config)[0]))
    for other in others:
        other.unlink()
    return first


def _write_samples(event: Sampled, stem: Path) -> Path:
    """Write the samples of a step side by side."""
    import torch

    from runtime.pictures import write_png

    path = stem.with_suffix(".png")
    with torch.no_grad():
        pictures = event.preview().clamp(0.0, 1.0)
    # A sheet about as wide as high.
    columns = max(1, round(len(pictures) ** 0.5 + 0.49))
    blank = pictures.new_ones(-len(pictures) % columns, *pictures.shape[1:])
    rows = torch.cat([pictures, blank]).split(columns)
    write_png(path, torch.cat([torch.cat(list(row), -1) for row in rows], -2))
    return path
