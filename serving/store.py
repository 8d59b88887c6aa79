"""What survives a killed server: jobs and their events in SQLite, their files in folders beside it.

    jobs.sqlite         jobs, events (append-only, numbered), webhooks; write-ahead log, every commit on the disk
    files/SHA256        what clients have sent
    jobs/ID/run/        the run folder of `runtime.draw`, which resumes to the same bytes
    jobs/ID/preview/    the last drawing on the way

One server at a time holds the store: `lock`. SQLite's own locks would let two servers work on one queue.
"""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from runtime.errors import UserError
from serving.requests import SHA256

QUEUED, RUNNING, DONE, FAILED, CANCELLED = STATES = ("queued", "running", "done", "failed", "cancelled")
ENDED = (DONE, FAILED, CANCELLED)
"""States that a job does not leave by itself."""

FOLDERS = ("files", "jobs")
"""Folders of a store, whose entries are its own."""
OF_JOBS = frozenset({"lock", "sent", "run", "preview"})
"""What the folder of a job may hold."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, key TEXT NOT NULL, client TEXT NOT NULL, request TEXT NOT NULL, method TEXT NOT NULL,
  state TEXT NOT NULL, hidden INTEGER NOT NULL, priority INTEGER NOT NULL, rank REAL NOT NULL,
  submitted REAL NOT NULL, started REAL, ended REAL, deadline REAL, webhook TEXT,
  attempts INTEGER NOT NULL DEFAULT 0, stopping INTEGER NOT NULL DEFAULT 0, threads INTEGER,
  done INTEGER NOT NULL DEFAULT 0, total INTEGER, eta_s REAL, seconds REAL NOT NULL DEFAULT 0,
  message TEXT, manifest TEXT, size INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, rank);
CREATE TABLE IF NOT EXISTS events (
  n INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_job ON events (job, n);
CREATE TABLE IF NOT EXISTS webhooks (
  job TEXT PRIMARY KEY, url TEXT NOT NULL, body TEXT NOT NULL, tries INTEGER NOT NULL, due REAL NOT NULL);
"""


@dataclass(frozen=True)
class Job:
    """A row of the table of jobs."""

    id: str
    key: str
    """Hash of the request; see `serving.requests.Request.key`."""
    client: str
    """Name of the token that submitted it."""
    request: str
    """JSON of a `Request`."""
    method: str
    state: str
    """One of `STATES`."""
    hidden: int
    """1 for a probe of health, which no list shows."""
    priority: int
    rank: float
    """What the queue is sorted by, least first; see `serving.jobs.AGEING_S`."""
    submitted: float
    """Times are seconds since 1970."""
    started: float | None
    ended: float | None
    deadline: float | None
    webhook: str | None
    attempts: int
    """How often its process has died without coming further; see `serving.jobs.DEATHS`."""
    stopping: int
    """1 once it is to be cancelled."""
    threads: int | None
    """Threads that it began with."""
    done: int
    """Steps so far."""
    total: int | None
    """All steps; None before the first."""
    eta_s: float | None
    """Seconds that the run itself will still take."""
    seconds: float
    """Seconds that it has run, earlier attempts included."""
    message: str | None
    """Why it failed."""
    manifest: str | None
    """JSON of what it has drawn and by what."""
    size: int
    """Bytes of its folder, once it has ended."""


@dataclass(frozen=True)
class LoggedEvent:
    """One line of the event log."""

    n: int
    """Its number; numbers grow, over all jobs."""
    job: str
    at: float
    kind: str
    data: Mapping[str, Any]


def _is_job(folder: Path) -> bool:
    """Return whether a folder is that of a job that a process of a server has begun."""
    return (folder / "lock").is_file() and {path.name for path in folder.iterdir()} <= OF_JOBS


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder whose files a store would take for its own: it deletes what no job names.

    Raises:
        UserError: it holds `files`, `jobs` or `jobs.sqlite` that no store has made.
    """
    database = folder / "jobs.sqlite"
    try:
        # No database: where a server died as it made the store, or where none has been yet and tritonserver was asked
        # for jobs by itself.
        ours = database.is_file() or all(
            _is_job(entry) if name == "jobs" else SHA256.fullmatch(entry.name)
            for name in FOLDERS
            if (folder / name).is_dir()
            for entry in (folder / name).iterdir()
        )
        if database.is_file() and database.stat().st_size:
            with contextlib.closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            ours = not tables or {"jobs", "events"} <= tables
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"store '{folder}' cannot be opened ({error}); give another folder: --store") from error
    if not ours:
        raise UserError(
            f"store '{folder}': expected a new folder or one that a server has made, got one with files of others; "
            "give another folder: --store"
        )


class Store:
    """The folder of a server, locked while it is open. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Open a store, or make it.

        Raises:
            UserError: another server has it, the folder holds something else, or it cannot be written.
        """
        self.folder = folder.absolute()
        _refuse_foreign(folder)
        try:
            for name in FOLDERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / "lock", timeout=0, thread_local=False)
            self._lock.acquire()
            self._database = sqlite3.connect(self.folder / "jobs.sqlite", check_same_thread=False, isolation_level=None)
            self._database.row_factory = sqlite3.Row
            self._database.execute("PRAGMA journal_mode=WAL")
            # A job that was acknowledged is there after a power cut, too.
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
        except Timeout as error:
            raise UserError(f"store '{folder}': another server has it open; give another folder: --store") from error
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"store '{folder}' cannot be opened ({error}); give another folder: --store") from error
        self._access = threading.RLock()

    def job_folder(self, job: str) -> Path:
        """Return the folder of a job."""
        return self.folder / "jobs" / job

    def file(self, sha256: str) -> Path:
        """Return where a file that a client has sent lies."""
        return self.folder / "files" / sha256

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection inside a transaction, which the block's end commits and an exception undoes."""
        with self._access:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        with self._access:
            return self._database.execute(query, values).fetchall()

    def jobs(self, where: str = "1", *values: Any) -> list[Job]:
        """Return the jobs that a condition holds for."""
        return [Job(**dict(row)) for row in self.rows(f"SELECT * FROM jobs WHERE {where}", *values)]

    def job(self, name: str) -> Job | None:
        """Return a job by its id."""
        rows = self.jobs("id = ?", name)
        return rows[0] if rows else None

    def insert(self, connection: sqlite3.Connection, job: Job) -> None:
        """Add a job; inside a transaction."""
        names = [field.name for field in fields(Job)]
        marks = ", ".join("?" * len(names))
        values = [getattr(job, name) for name in names]
        connection.execute(f"INSERT INTO jobs ({', '.join(names)}) VALUES ({marks})", values)

    def update(self, connection: sqlite3.Connection, name: str, states: Sequence[str], **values: Any) -> bool:
        """Change a job that is in one of some states; return whether it was.

        The states are part of the statement, so that of two that end a job at once only the first does.
        """
        changes = ", ".join(f"{column} = ?" for column in values)
        marks = ", ".join("?" * len(states))
        query = f"UPDATE jobs SET {changes} WHERE id = ? AND state IN ({marks})"
        return connection.execute(query, [*values.values(), name, *states]).rowcount == 1

    def append(self, connection: sqlite3.Connection, job: str, at: float, kind: str, data: Mapping[str, Any]) -> None:
        """Append an event to the log; inside a transaction."""
        text = json.dumps(data)
        connection.execute("INSERT INTO events (job, at, kind, data) VALUES (?, ?, ?, ?)", (job, at, kind, text))

    def events(self, after: int, job: str | None = None, limit: int = 500) -> list[LoggedEvent]:
        """Return the events behind a number, of one job or of all that lists show."""
        which = "job = ?" if job else "job NOT IN (SELECT id FROM jobs WHERE hidden = 1)"
        query = f"SELECT * FROM events WHERE n > ? AND {which} ORDER BY n LIMIT ?"
        rows = self.rows(query, after, *([job] if job else []), limit)
        return [LoggedEvent(row["n"], row["job"], row["at"], row["kind"], json.loads(row["data"])) for row in rows]

    def last_event(self) -> int:
        """Return the number of the newest event; 0 where there is none."""
        return self.rows("SELECT COALESCE(MAX(n), 0) AS n FROM events")[0]["n"]

    def close(self) -> None:
        """Close the database and release the lock."""
        with self._access:
            self._database.close()
        self._lock.release()
