"""The life of a job: submitted once however often it is asked for, queued, run, and ended in one of three ways.

    queued ──► running ──► done
       │  ▲       │  └───► failed ──► queued      (retry, or the same request again)
       │  └───────┘
       └──────────────────► cancelled

From `running` back to `queued` goes a job whose process or server has died: its run folder resumes to the same bytes.
"""

import hashlib
import json
import math
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runtime.errors import UserError
from runtime.files import replace_file
from serving.requests import Request
from serving.store import CANCELLED, DONE, ENDED, FAILED, QUEUED, RUNNING, Job, Store

AGEING_S = 60.0
"""Seconds of waiting that count as much as one point of priority. Since all jobs age alike, the order of the queue does
not change with time: `submitted - AGEING_S * priority` is computed once."""

DEATHS, DEATHS_AT_ONCE = 20, 4
"""How often the process of a job may die without coming further than ever before, and how often so without taking a
single step, before the job fails: it may be the job that kills it."""


class QueueFullError(UserError):
    """No more jobs are taken for now."""


class ConflictError(UserError):
    """What is asked for does not go with the state of a job."""


class UnknownJobError(UserError):
    """There is no such job."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a store takes."""

    queue: int = 256
    """Jobs that may wait."""
    keep_s: float = 30 * 86400.0
    """Seconds that a job stays after its end."""
    size: int = 10 * 2**30
    """Bytes of all jobs that have ended; the oldest go first."""
    upload: int = 32 * 2**20
    """Bytes of one file."""
    uploads: int = 4 * 2**30
    """Bytes of all files that clients have sent."""


class Jobs:
    """The jobs of a store. Safe to use from several threads.

    Args:
        store: where they are kept.
        limits: how many.
        clock: seconds since 1970.
    """

    def __init__(self, store: Store, limits: Limits | None = None, clock: Callable[[], float] = time.time) -> None:
        self.store, self.limits, self.clock = store, limits or Limits(), clock
        self.draining = False
        self.changed = threading.Condition()
        self.listeners: list[Callable[[str, str, Mapping[str, Any]], None]] = []
        """Called after each event, from any thread, with the job's id, the event's kind and its data."""

    # Asking

    def submit(
        self,
        request: Request,
        *,
        name: str | None = None,
        client: str = "",
        priority: int = 0,
        deadline_s: float | None = None,
        webhook: str | None = None,
        hidden: bool = False,
        quota: int | None = None,
    ) -> tuple[Job, bool]:
        """Return the job of a request, and whether it is a new one.

        The same request again joins its job, whatever the state: one that runs, or has its result. One that failed or
        was cancelled is queued again, and resumes where it stood.

        Args:
            request: what is asked.
            name: the client's own id for it; by default a hash of the request.
            client: who asks.
            priority: -10 to 10; see `AGEING_S`.
            deadline_s: seconds from now after which nobody wants it any more.
            webhook: address to tell of its end.
            hidden: whether lists leave it out.
            quota: jobs that this client may have waiting or running.

        Raises:
            QueueFullError: too many jobs wait, of all or of this client, or the server is about to end.
            ConflictError: the id is that of another request.
            UserError: a file that it names was not sent.
        """
        if self.draining:
            raise QueueFullError("server: is about to end and takes no new jobs; try again in a minute")
        name = name or request.key[:24]
        self._refuse_missing(request)
        now = self.clock()
        with self.store.transaction() as connection:
            job = self.store.job(name)
            # Within the transaction: two clients may send the same id at the same moment.
            if job is not None and job.key != request.key:
                raise ConflictError(f"job {name!r}: the id is taken by another request; choose another id")
            if job is not None and job.state not in (FAILED, CANCELLED):
                return job, False
            self._refuse_full(client, quota)
            # As if it had been submitted a minute earlier for each point.
            rank = now - AGEING_S * priority
            deadline = None if deadline_s is None else now + deadline_s
            if job is None:
                text, method = json.dumps(request.to_json()), request.method
                fresh = (0, 0, None, 0, None, None, 0.0, None, None, 0)
                self.store.insert(
                    connection,
                    Job(
                        *(name, request.key, client, text, method, QUEUED, int(hidden), priority, rank, now),
                        *(None, None, deadline, webhook, *fresh),
                    ),
                )
            else:
                again = {"rank": rank, "deadline": deadline, "ended": None, "message": None, "webhook": webhook}
                self._queue(connection, name, (FAILED, CANCELLED), **again)
            self.store.append(connection, name, now, QUEUED, {"method": request.method})
        self._tell(name, QUEUED)
        return self.get(name), True

    def get(self, name: str) -> Job:
        """Return a job.

        Raises:
            UnknownJobError: there is none of this id.
        """
        job = self.store.job(name)
        if job is None:
            raise UnknownJobError(f"job {name!r:.80}: there is none of this id; it may have been deleted")
        return job

    def listed(self, limit: int = 200, before: float = math.inf, client: str = "") -> list[Job]:
        """Return the newest jobs that were submitted before a time, newest first; of one client where it has a name."""
        where = "hidden = 0 AND submitted < ? AND (? = '' OR client = ?) ORDER BY submitted DESC LIMIT ?"
        return self.store.jobs(where, before, client, client, limit)

    def position(self, job: Job) -> int | None:
        """Return how many jobs go before a queued one; None for others."""
        if job.state != QUEUED:
            return None
        # The id breaks ties, so that all see one order.
        query = "SELECT COUNT(*) AS n FROM jobs WHERE state = ? AND (rank, id) < (?, ?)"
        return self.store.rows(query, QUEUED, job.rank, job.id)[0]["n"]

    def eta_s(self, job: Job, lanes: int = 1) -> float | None:
        """Return the seconds until a job ends, by the pace of its run or of its method's last jobs; None: unknown.

        Args:
            job: queued or running.
            lanes: jobs that run side by side.
        """
        if job.state == RUNNING:
            return job.eta_s if job.eta_s is not None else self._typical_s(job.method)
        if job.state != QUEUED:
            return None
        own = self._typical_s(job.method)
        ahead = self.store.jobs("state = ? OR (state = ? AND (rank, id) < (?, ?))", RUNNING, QUEUED, job.rank, job.id)
        waits = [other.eta_s or self._typical_s(other.method) for other in ahead]
        if own is None or any(wait is None for wait in waits):
            return None
        return sum(wait for wait in waits if wait) / lanes + own

    def cancel(self, name: str) -> Job:
        """Cancel a job and return it: at once where it is queued, between two steps where it runs.

        Raises:
            UnknownJobError: there is none of this id.
        """
        now = self.clock()
        with self.store.transaction() as connection:
            self.get(name)
            if self.store.update(connection, name, (QUEUED,), state=CANCELLED, ended=now):
                self._ended(connection, name, now, CANCELLED, {})
            # The worker reads this after its next step and ends there, with its state saved.
            elif self.store.update(connection, name, (RUNNING,), stopping=1):
                self.store.append(connection, name, now, "cancelling", {})
        job = self.get(name)
        self._tell(name, "cancelling" if job.stopping else job.state)
        return job

    def retry(self, name: str, *, anew: bool = False) -> Job:
        """Queue a job that failed or was cancelled again and return it; `anew`: without what it has computed.

        Raises:
            UnknownJobError: there is none of this id.
            ConflictError: it has not failed.
        """
        now = self.clock()
        with self.store.transaction() as connection:
            job = self.get(name)
            if not self._queue(connection, name, (FAILED, CANCELLED), rank=now, deadline=None, ended=None):
                raise ConflictError(f"job {name!r}: expected one that failed or was cancelled, this one is {job.state}")
            if anew:
                shutil.rmtree(self.store.job_folder(name), ignore_errors=True)
            self.store.append(connection, name, now, QUEUED, {"method": job.method})
        self._tell(name, QUEUED)
        return self.get(name)

    def delete(self, name: str) -> None:
        """Delete a job that has ended, with its files.

        Raises:
            UnknownJobError: there is none of this id.
            ConflictError: it has not ended.
        """
        with self.store.transaction() as connection:
            job = self.get(name)
            if job.state not in ENDED:
                raise ConflictError(f"job {name!r}: is {job.state}; cancel it before you delete it")
            connection.execute("DELETE FROM jobs WHERE id = ?", (name,))
            # First the rows, then the folder: a client must not be shown a job whose files are gone.
            connection.execute("DELETE FROM events WHERE job = ?", (name,))
            self.store.append(connection, name, self.clock(), "deleted", {})
        shutil.rmtree(self.store.job_folder(name), ignore_errors=True)
        self._tell(name, "deleted")

    def keep_file(self, content: bytes) -> str:
        """Keep a file that a client has sent; return its SHA-256.

        Raises:
            QueueFullError: the store holds too many of them.
        """
        digest = hashlib.sha256(content).hexdigest()
        path = self.store.file(digest)
        if not path.is_file():
            held = sum(file.stat().st_size for file in (self.store.folder / "files").iterdir())
            if held + len(content) > self.limits.uploads:
                most = self.limits.uploads
                raise QueueFullError(f"files: {held} bytes were sent, at most {most} may; delete jobs, or wait an hour")
            replace_file(path, content)
        return digest

    # Working

    def take(self, threads: int) -> Job | None:
        """Return the next job, which is now running; None where none waits or the server is about to end.

        Args:
            threads: what a run that begins now computes with.
        """
        if self.draining:
            return None
        now = self.clock()
        with self.store.transaction() as connection:
            waiting = self.store.jobs("state = ? ORDER BY rank, id LIMIT 1", QUEUED)
            if not waiting:
                return None
            job = waiting[0]
            # A job resumes with the threads that it began with.
            chosen = job.threads or threads
            self.store.update(connection, job.id, (QUEUED,), state=RUNNING, started=now, threads=chosen, eta_s=None)
            self.store.append(connection, job.id, now, RUNNING, {"resumed": job.done > 0})
        self._tell(job.id, RUNNING)
        return self.get(job.id)

    def note(self, name: str, kind: str, data: Mapping[str, Any]) -> bool:
        """Log an event of a running job; return whether it may continue: False once it is to be cancelled."""
        with self.store.transaction() as connection:
            job = self.get(name)
            if kind == "step":
                eta_s = data.get("eta_s")
                steps = {"done": data["done"], "total": data["total"], "eta_s": eta_s}
                # A process that takes a step works: deaths are counted anew.
                if data["done"] > job.done:
                    steps["attempts"] = 0
                self.store.update(connection, name, (RUNNING,), **steps)
            self.store.append(connection, name, self.clock(), kind, data)
        self._tell(name, kind, data)
        return not job.stopping

    def finish(self, name: str, manifest: Mapping[str, Any]) -> None:
        """End a running job with its result."""
        size = sum(path.stat().st_size for path in self.store.job_folder(name).rglob("*") if path.is_file())
        text = json.dumps(manifest)
        self._end(name, DONE, {"outputs": manifest["outputs"]}, manifest=text, size=size, eta_s=0.0)

    def fail(self, name: str, message: str) -> None:
        """End a running job with an error."""
        self._end(name, FAILED, {"message": message}, message=message)

    def stopped(self, name: str) -> None:
        """End or put back a running job that was stopped between two steps, its state saved."""
        job = self.get(name)
        if job.stopping:
            late = job.deadline is not None and self.clock() > job.deadline
            if late:
                self.fail(name, "deadline: passed while the job was running; give it more time and retry")
            else:
                self._end(name, CANCELLED, {})
        else:
            self.requeue(name, "the server ended")

    def requeue(self, name: str, reason: str, *, died: bool = False) -> None:
        """Put a running job back into the queue, in front of those of its priority; it resumes from its run folder.

        Args:
            name: the job.
            reason: for the log.
            died: whether its process has died; a job whose process dies again and again without a step fails.
        """
        job, now = self.get(name), self.clock()
        attempts = job.attempts
        if died:
            attempts += 1 if self._has_stepped(name) else DEATHS // DEATHS_AT_ONCE
        if attempts >= DEATHS:
            self.fail(name, f"job: its process dies again and again without coming further ({reason})")
            return
        if job.stopping:
            self._end(name, CANCELLED, {})
            return
        # The clock may have been set back while the job ran.
        spent = job.seconds + max(0.0, now - (job.started or now))
        with self.store.transaction() as connection:
            if self._queue(connection, name, (RUNNING,), attempts=attempts, seconds=spent):
                self.store.append(connection, name, now, QUEUED, {"method": job.method, "reason": reason})
        self._tell(name, QUEUED)

    def _has_stepped(self, name: str) -> bool:
        """Return whether a job has taken a step since it was last begun or resumed."""
        query = "SELECT kind FROM events WHERE job = ? AND kind IN ('step', 'running') ORDER BY n DESC LIMIT 1"
        return [row["kind"] for row in self.store.rows(query, name)] == ["step"]

    def recover(self) -> int:
        """Put back what a server that was killed has left running; return how many. Call it before the first `take`."""
        # The store's lock is held, so nobody else runs them.
        left = self.store.jobs("state = ?", RUNNING)
        for job in left:
            self.requeue(job.id, "the server was killed")
        return len(left)

    def sweep(self) -> None:
        """End what is past its deadline; delete what is too old or too much, and files that nobody needs."""
        now = self.clock()
        for job in self.store.jobs("state IN (?, ?) AND deadline < ?", QUEUED, RUNNING, now):
            with self.store.transaction() as connection:
                message = "deadline: passed while the job was queued; give it more time and retry"
                if self.store.update(connection, job.id, (QUEUED,), state=FAILED, ended=now, message=message):
                    self._ended(connection, job.id, now, FAILED, {"message": message})
                else:
                    self.store.update(connection, job.id, (RUNNING,), stopping=1)
            self._tell(job.id, "deadline")
        ended = self.store.jobs("state IN (?, ?, ?) ORDER BY ended DESC", *ENDED)
        total = 0
        for job in ended:
            # Newest first: what no longer fits is the oldest.
            total += job.size
            expired = job.ended is not None and (
                now - job.ended > self.limits.keep_s or (job.hidden and now - job.ended > 600)
            )
            if expired or total > self.limits.size:
                self.delete(job.id)
        self._delete_files(now)

    def counts(self) -> dict[str, int]:
        """Return the number of jobs in each state."""
        rows = self.store.rows("SELECT state, COUNT(*) AS n FROM jobs WHERE hidden = 0 GROUP BY state")
        return {row["state"]: row["n"] for row in rows}

    # Within

    def _queue(self, connection: Any, name: str, states: tuple[str, ...], **values: Any) -> bool:
        """Put a job that is in one of some states into the queue; return whether it was."""
        fresh = {"state": QUEUED, "stopping": 0, "eta_s": None, "message": None, "attempts": 0, **values}
        return self.store.update(connection, name, states, **fresh)

    def _end(self, name: str, state: str, data: Mapping[str, Any], **values: Any) -> None:
        """End a running job."""
        job, now = self.get(name), self.clock()
        seconds = job.seconds + max(0.0, now - (job.started or now))
        with self.store.transaction() as connection:
            if self.store.update(connection, name, (RUNNING,), state=state, ended=now, seconds=seconds, **values):
                self._ended(connection, name, now, state, data)
        self._tell(name, state, data)

    def _ended(self, connection: Any, name: str, now: float, state: str, data: Mapping[str, Any]) -> None:
        """Log the end of a job, and note whom to tell."""
        self.store.append(connection, name, now, state, data)
        job = self.get(name)
        if job.webhook:
            body = json.dumps({"job": name, "state": state, "method": job.method, "ended": now, **data})
            values = (name, job.webhook, body, 0, now)
            connection.execute("INSERT OR REPLACE INTO webhooks VALUES (?, ?, ?, ?, ?)", values)

    def _tell(self, name: str, kind: str, data: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Wake whoever waits for something to happen."""
        with self.changed:
            self.changed.notify_all()
        for listener in list(self.listeners):
            listener(name, kind, data)

    def _typical_s(self, method: str) -> float | None:
        """Return the median seconds of a method's last jobs; None where none has ended."""
        rows = self.store.rows(
            "SELECT seconds FROM jobs WHERE method = ? AND state = ? AND hidden = 0 ORDER BY ended DESC LIMIT 9",
            *(method, DONE),
        )
        seconds = sorted(row["seconds"] for row in rows)
        return seconds[len(seconds) // 2] if seconds else None

    def _refuse_missing(self, request: Request) -> None:
        for option, file in request.files.items():
            if not self.store.file(file.sha256).is_file():
                raise UserError(f"{option}: no file of this SHA-256 was sent ({file.sha256[:12]}); upload it first")

    def _refuse_full(self, client: str, quota: int | None) -> None:
        waiting = self.store.rows("SELECT COUNT(*) AS n FROM jobs WHERE state = ?", QUEUED)[0]["n"]
        if waiting >= self.limits.queue:
            raise QueueFullError(f"queue: {waiting} jobs wait, at most {self.limits.queue} may; try again later")
        if quota is not None:
            query = "SELECT COUNT(*) AS n FROM jobs WHERE client = ? AND state IN (?, ?)"
            own = self.store.rows(query, client, QUEUED, RUNNING)[0]["n"]
            if own >= quota:
                raise QueueFullError(f"quota: {own} of your jobs wait or run, at most {quota} may; try again later")

    def _delete_files(self, now: float) -> None:
        """Delete files that clients have sent and that no job names, an hour after they came."""
        named = set()
        for row in self.store.rows("SELECT request FROM jobs"):
            named |= {file["sha256"] for file in json.loads(row["request"])["files"].values()}
        for path in (self.store.folder / "files").iterdir():
            # An hour: a file is uploaded before the request that names it.
            if path.name not in named and now - path.stat().st_mtime > 3600:
                Path.unlink(path, missing_ok=True)
