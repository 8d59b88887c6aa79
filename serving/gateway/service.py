"""What all answers of the gateway are made of: the queue, the pool, the methods, the bundles."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from runtime.errors import UserError
from serving.bundles import Offers
from serving.gateway.bell import Bell
from serving.gateway.metrics import Metrics
from serving.jobs import Jobs
from serving.methods import Served, options_schema, texts_or_files
from serving.pool import Pool
from serving.requests import Request, command_of, parse_request
from serving.store import DONE, RUNNING, Job

PRIORITY = (-10, 10)
"""Least and greatest priority that a client may give."""

LONGEST_ID = 64
"""Characters of a client's own id."""

FIELDS = ("method", "options", "id", "priority", "deadline_s", "webhook")
"""What a client's JSON may hold."""


@dataclass
class Service:
    """A running server."""

    jobs: Jobs
    pool: Pool
    served: Mapping[str, Served]
    offers: Offers
    metrics: Metrics
    webhook_hosts: tuple[str, ...] = ()
    """Hosts that clients may have notified when their jobs end."""
    bell: Bell = field(default_factory=Bell)
    """Rings after each event."""

    def parse(self, document: object) -> Request:
        """Return the request that a client's JSON asks for; a `UserError` says what is wrong with it."""
        return parse_request(document, self.served, self.offers.digest_of, defaults=self.offers.defaults_of)

    def submit(self, document: Any, *, name: str | None, client: str, quota: int | None) -> tuple[Job, bool]:
        """Return the job of a client's JSON, and whether it is new.

        Args:
            document: what the client has sent.
            name: the job's id where its address gives one.
            client: who asks.
            quota: jobs that this client may have waiting or running.

        Raises:
            UserError: something in it cannot be used; see `Jobs.submit`, too.
        """
        request = self.parse(document)
        for field_name in document:
            if field_name not in FIELDS:
                raise UserError(f"request: expected some of {', '.join(FIELDS)}; got {field_name!r:.60}")
        name = check_id(name if name is not None else document.get("id"))
        if name is None and client:
            # Clients do not see each other's jobs, so they do not join them either.
            name = hashlib.sha256(f"{client}/{request.key}".encode()).hexdigest()[:24]
        return self.jobs.submit(
            request,
            name=name,
            client=client,
            quota=quota,
            priority=check_priority(document.get("priority", 0)),
            deadline_s=check_deadline(document.get("deadline_s")),
            webhook=self.check_webhook(document.get("webhook")),
        )

    def check_webhook(self, url: object) -> str | None:
        """Return the address to tell of a job's end, whose host is allowed."""
        if url is None:
            return None
        host = None
        if isinstance(url, str) and len(url) <= 2000:
            try:
                parts = urlsplit(url)
                host = parts.hostname if parts.scheme in ("http", "https") else None
            except ValueError:
                host = None
        if host is None or host not in self.webhook_hosts:
            allowed = ", ".join(self.webhook_hosts) or "none; the server's --webhook-host allows some"
            raise UserError(f"webhook: expected an http address of an allowed host ({allowed}), got {url!r:.80}")
        return str(url)

    def describe(self, job: Job) -> dict[str, Any]:
        """Return a job as clients see it."""
        request = Request.from_json(json.loads(job.request))
        served = self.served.get(job.method)
        eta_s = self.jobs.eta_s(job, len(self.pool.lanes))
        return {
            "id": job.id,
            "method": job.method,
            "options": dict(request.values),
            "files": {option: vars(file) for option, file in request.files.items()},
            "state": job.state,
            "cancelling": bool(job.stopping),
            "position": self.jobs.position(job),
            "eta_s": None if eta_s is None else round(eta_s, 1),
            "done": job.done,
            "total": job.total,
            "priority": job.priority,
            "submitted": job.submitted,
            "started": job.started,
            "ended": job.ended,
            "seconds": round(job.seconds, 3),
            "message": job.message,
            "preview": self.preview_of(job),
            **self.last_step(job),
            "outputs": json.loads(job.manifest)["outputs"] if job.state == DONE and job.manifest else [],
            "command": command_of(request, served.method) if served else None,
        }

    def last_step(self, job: Job) -> dict[str, Any]:
        """Return the stage of a running job, its step and its steps; empty before the first one of this attempt."""
        query = "SELECT kind, data FROM events WHERE job = ? AND kind IN ('step', 'running') ORDER BY n DESC LIMIT 1"
        rows = self.jobs.store.rows(query, job.id) if job.state == RUNNING else []
        if not rows or rows[0]["kind"] != "step":
            return {}
        return {
            name: value for name, value in json.loads(rows[0]["data"]).items() if name in ("stage", "step", "steps")
        }

    def preview_of(self, job: Job) -> str | None:
        """Return the name of a job's last preview that is whole."""
        # By its report, not by what the folder holds: the newest file may still be being written.
        query = "SELECT data FROM events WHERE job = ? AND kind = 'preview' ORDER BY n DESC LIMIT 1"
        rows = self.jobs.store.rows(query, job.id)
        name = json.loads(rows[0]["data"])["file"] if rows else None
        return name if name and (self.jobs.store.job_folder(job.id) / "preview" / name).is_file() else None

    def describe_methods(self) -> list[dict[str, Any]]:
        """Return what is served, with the options of each as a JSON schema."""
        return [
            {
                "name": served.name,
                "summary": served.summary,
                "selectors": list(served.method.selectors),
                "kind": served.method.kind,
                "texts_or_files": list(texts_or_files(served.method)),
                "bundles": self.offers.of_kinds(served.method.kinds),
                "options": options_schema(served.method.config),
            }
            for served in self.served.values()
        ]


def check_id(name: object) -> str | None:
    """Return a client's own id of a job, of plain characters."""
    if name is None:
        return None
    plain = isinstance(name, str) and name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    if not plain or len(str(name)) > LONGEST_ID:
        raise UserError(f"id: expected 1 to {LONGEST_ID} letters, digits, '-' and '_', got {name!r:.80}")
    return str(name)


def check_priority(value: object) -> int:
    """Return a priority in range."""
    if not isinstance(value, int) or isinstance(value, bool) or not PRIORITY[0] <= value <= PRIORITY[1]:
        raise UserError(f"priority: expected {PRIORITY[0]} to {PRIORITY[1]}, got {value!r:.40}")
    return value


def check_deadline(value: object) -> float | None:
    """Return the seconds until a deadline; None where there is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 30 * 86400:
        raise UserError(f"deadline_s: expected more than 0 and at most {30 * 86400} seconds, got {value!r:.40}")
    return float(value)
