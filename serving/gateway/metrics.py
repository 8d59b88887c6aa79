"""Counters and histograms in Prometheus' text format: what was asked, how it ended, and how long each stage took."""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serving.store import ENDED, QUEUED, RUNNING

BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Upper bounds of the histograms' buckets, seconds."""

Labels = tuple[tuple[str, str], ...]


class Histogram:
    """How often a time fell into each bucket."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a time, or several of the same length."""
        self.counts[bisect_left(BUCKETS, seconds)] += times
        self.sum += seconds * times

    def lines(self, name: str, labels: Labels) -> list[str]:
        """Return the histogram's lines."""
        rows, total = [], 0
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], self.counts, strict=True):
            total += count
            rows.append(f"{name}_bucket{format_labels((*labels, ('le', bound)))} {total}")
        end = format_labels(labels)
        return [*rows, f"{name}_sum{end} {self.sum:.6g}", f"{name}_count{end} {total}"]


class Metrics:
    """What a server has counted since its start. Safe to use from several threads.

    Args:
        method_of: gives the method of a job by its id.
        clock: seconds.
    """

    def __init__(self, method_of: Callable[[str], str], clock: Callable[[], float] = time.monotonic) -> None:
        self.method_of, self.clock = method_of, clock
        self.counters: dict[tuple[str, Labels], float] = {}
        self.histograms: dict[tuple[str, Labels], Histogram] = {}
        self._stages: dict[str, tuple[str, float, int]] = {}
        self._access = threading.Lock()

    def count(self, name: str, **labels: str) -> None:
        """Add one to a counter."""
        key = (name, tuple(sorted(labels.items())))
        with self._access:
            self.counters[key] = self.counters.get(key, 0.0) + 1.0

    def time(self, name: str, seconds: float, times: int = 1, **labels: str) -> None:
        """Add a time to a histogram."""
        key = (name, tuple(sorted(labels.items())))
        with self._access:
            self.histograms.setdefault(key, Histogram()).add(seconds, times)

    def listen(self, job: str, kind: str, data: Mapping[str, Any]) -> None:
        """Follow a job through its stages; a listener of `serving.jobs.Jobs`."""
        now = self.clock()
        stage, since, step = self._stages.get(job, ("", now, 0))
        if kind == "step":
            name, at = str(data["stage"]), int(data["step"])
            if name == stage and at > step:
                # Reports come now and then: each of the steps between two of them took the same part.
                self.time("tgm_step_seconds", (now - since) / (at - step), at - step, method=self.method_of(job))
            elif name != stage:
                self._leave(job, stage, since, now)
            self._stages[job] = (name, now, at)
        elif kind in (QUEUED, RUNNING):
            self._leave(job, stage, since, now)
            self._stages[job] = ("queue" if kind == QUEUED else "start", now, 0)
        elif kind in ENDED:
            self._leave(job, stage if stage in ("queue", "start") else "finish", since, now)
            self._stages.pop(job, None)
            self.count("tgm_jobs_ended_total", method=self.method_of(job), state=kind)

    def _leave(self, job: str, stage: str, since: float, now: float) -> None:
        # Stages of steps are timed step by step, above.
        if stage in ("queue", "start", "finish"):
            self.time("tgm_stage_seconds", now - since, method=self.method_of(job), stage=stage)

    def text(self, gauges: Sequence[tuple[str, Mapping[str, str], float]] = ()) -> str:
        """Return all in Prometheus' text format.

        Args:
            gauges: name, labels and value of what is measured now.
        """
        with self._access:
            kinds = {name: "gauge" for name, _, _ in gauges}
            kinds |= {name: "counter" for name, _ in self.counters} | {name: "histogram" for name, _ in self.histograms}
            lines: dict[str, list[str]] = {name: [f"# TYPE {name} {kind}"] for name, kind in sorted(kinds.items())}
            for name, labels, value in gauges:
                lines[name].append(f"{name}{format_labels(tuple(sorted(labels.items())))} {value:g}")
            for (name, labels), value in sorted(self.counters.items()):
                lines[name].append(f"{name}{format_labels(labels)} {value:g}")
            for (name, labels), histogram in sorted(self.histograms.items(), key=lambda item: item[0]):
                lines[name] += histogram.lines(name, labels)
        return "\n".join(line for group in lines.values() for line in group) + "\n"


def format_labels(labels: Labels) -> str:
    """Return labels as `{a="b"}`; empty where there are none."""
    if not labels:
        return ""
    escaped = [(n, v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for n, v in labels]
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
