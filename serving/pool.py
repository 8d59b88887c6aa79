"""Lanes that take jobs from the queue, and what happens when one dies, a job is cancelled or the server ends."""

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runtime.errors import UserError
from serving.jobs import Jobs
from serving.lanes import Lane
from serving.methods import Served
from serving.store import Job
from serving.work import Task

DRAIN_S = 3.0
"""Seconds in which running jobs may take their last step and save their state when the server ends. The process is
gone within 5; a job that is slower loses what came after its last checkpoint, and is computed to the same bytes."""

HEAL_EVERY = 3
"""Seconds between two looks at the processes behind the lanes."""

_LOG = logging.getLogger("serving")


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where and by what jobs compute."""

    device: str = "cpu"
    """Where networks run."""
    backend: str = "ort"
    """What runs them."""
    threads: int = 1
    """Threads of a job."""
    networks: str = ""
    """Triton server that runs the networks, as of `serving.work.Task`; empty: each worker does."""
    bundles: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the bundles that are offered, by name."""


class Pool:
    """Lanes over a queue.

    Args:
        jobs: the queue.
        served: the methods, by name.
        lanes: what does jobs.
        placed: where.
    """

    def __init__(self, jobs: Jobs, served: Mapping[str, Served], lanes: Sequence[Lane], placed: Placed) -> None:
        self.jobs, self.served, self.lanes, self.placed = jobs, served, list(lanes), placed
        self.running: dict[str, Lane] = {}
        self.deaths = 0
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._ending = threading.Lock()

    def start(self) -> None:
        """Begin to work; jobs that an earlier server has left come first."""
        self.jobs.recover()
        self.jobs.listeners.append(self._look)
        work = [threading.Thread(target=self._serve, args=(lane,), name=lane.name, daemon=True) for lane in self.lanes]
        self._threads = [*work, threading.Thread(target=self._sweep, name="sweep", daemon=True)]
        for thread in self._threads:
            thread.start()

    def drain(self, within_s: float = DRAIN_S) -> None:
        """Take no more jobs, let those that run save their state, and end; what is not ready in time is killed."""
        with self._ending:  # a second call waits for the first
            self._drain(within_s)

    def _drain(self, within_s: float) -> None:
        until = time.monotonic() + within_s
        self.jobs.draining = True
        self._closing.set()
        with self.jobs.changed:
            self.jobs.changed.notify_all()
        for lane in list(self.running.values()):
            lane.stop()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for lane in list(self.running.values()):
            lane.kill()
        for thread in self._threads:
            thread.join(1.0)
        with suppress(ValueError):
            self.jobs.listeners.remove(self._look)
        for lane in self.lanes:
            lane.close()

    def idle(self) -> list[Lane]:
        """Return the lanes that have no job now."""
        busy = list(self.running.values())
        return [lane for lane in self.lanes if lane not in busy]

    def task_of(self, job: Job) -> Task:
        """Return a job as a worker takes it."""
        request, store = json.loads(job.request), self.jobs.store
        if job.method not in self.served:
            raise UserError(f"method {job.method!r}: this server has none of this name; start one that has it")
        files = {option: str(store.file(file["sha256"])) for option, file in request["files"].items()}
        return Task(
            job=job.id,
            home=self.served[job.method].home,
            request=request,
            folder=str(store.job_folder(job.id)),
            files=files,
            device=self.placed.device,
            backend=self.placed.backend,
            threads=job.threads or self.placed.threads,
            networks=self.placed.networks,
            bundle=str(self.placed.bundles.get(request["options"].get("bundle", ""), "")),
        )

    def _serve(self, lane: Lane) -> None:
        """Take one job after the other."""
        while not self._closing.is_set():
            job = self.jobs.take(self.placed.threads)
            if job is None:
                with self.jobs.changed:
                    self.jobs.changed.wait(0.5)
                continue
            try:
                self._do(lane, job)
            # The queue must continue, whatever was wrong with one job.
            except Exception as error:
                _LOG.exception("job %s", job.id)
                self.jobs.fail(job.id, f"{type(error).__name__}: {error}"[:500])

    def _do(self, lane: Lane, job: Job) -> None:
        """Let a lane do a job, and note what it reports."""
        try:
            task = self.task_of(job)
        except UserError as error:
            self.jobs.fail(job.id, str(error))
            return
        self.running[job.id] = lane
        try:
            for kind, data in lane.run(task):
                if kind == "done":
                    self.jobs.finish(job.id, data)
                elif kind == "failed":
                    self.jobs.fail(job.id, data["message"])
                elif kind == "stopped":
                    self.jobs.stopped(job.id)
                elif kind == "died":
                    self._died(job, data["reason"])
                elif not self.jobs.note(job.id, kind, data) or self._closing.is_set():
                    lane.stop()
        finally:
            self.running.pop(job.id, None)

    def _died(self, job: Job, reason: str) -> None:
        """Put the job of a lane that has died back: it resumes elsewhere, to the same bytes."""
        if not self._closing.is_set():
            self.deaths += 1
            _LOG.warning("job %s: %s", job.id, reason)
        self.jobs.requeue(job.id, reason, died=not self._closing.is_set())

    def _look(self, name: str, *_: object) -> None:
        """Stop a job that is to be cancelled; called after each event of any job."""
        lane = self.running.get(name)
        if lane is not None:
            job = self.jobs.store.job(name)
            if job is not None and job.stopping:
                lane.stop()

    def _sweep(self) -> None:
        """Look after deadlines, old jobs and lanes whose processes have died while nothing was to be done."""
        looks = 0
        while not self._closing.wait(1.0):
            looks += 1
            try:
                self.jobs.sweep()
                # A lane that has a job sees for itself.
                if looks % HEAL_EVERY == 0:
                    for lane in self.idle():
                        lane.heal()
            except Exception:
                _LOG.exception("sweep")
