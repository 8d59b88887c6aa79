"""Whether the server really draws: a one-step job of each method, done by the very lanes that do the others.

A process that answers may still have lost what it needs: a killed stub of Triton is still called ready. So health
is a job that was done, and readiness is the outcome of the last ones.
"""

import hashlib
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from runtime.errors import UserError
from serving.gateway.service import Service
from serving.methods import Served, is_file, options_schema
from serving.requests import Request
from serving.store import DONE, ENDED

FEWEST = ("steps", "stages", "samples", "count", "paths", "views", "frames", "iterations", "segments")
"""Options that a probe sets to their least value."""

WORDS: Mapping[str, str] = {"prompt": "a red apple", "hide": "top"}
"""Values of the texts that a method needs."""

PROBE_S = 300.0
"""Seconds in which a one-step job has to be done: the first one may compile kernels."""


@dataclass(frozen=True)
class Probe:
    """The outcome of the last one-step job of a method."""

    ok: bool
    at: float
    seconds: float
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"ok": self.ok, "at": self.at, "seconds": round(self.seconds, 2), "message": self.message}


class Health:
    """The probes of a server.

    Args:
        service: the server.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.probes: dict[str, Probe] = {}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Return whether new jobs will be done, and why not."""
        draining = self.service.jobs.draining
        failed = sorted(name for name, probe in self.probes.items() if not probe.ok)
        details = {
            "draining": draining,
            "lanes": len(self.service.pool.lanes),
            "probes": {name: probe.to_json() for name, probe in self.probes.items()},
        }
        return not draining and not failed, details

    def probe(self, method: str) -> Probe:
        """Do a one-step job of a method and return how it went; it waits for a lane as other jobs do."""
        served, began = self.service.served[method], time.monotonic()
        try:
            request = probe_request(served, self.service)
            name = f"probe-{method}-{int(began * 1000)}"
            self.service.jobs.submit(request, name=name, priority=10, hidden=True, deadline_s=PROBE_S)
            job = self.service.jobs.get(name)
            while job.state not in ENDED and time.monotonic() - began < PROBE_S + 5:
                with self.service.jobs.changed:
                    self.service.jobs.changed.wait(0.2)
                job = self.service.jobs.get(name)
            message = "" if job.state == DONE else job.message or f"is still {job.state}"
        except UserError as error:
            message = str(error)
        self.probes[method] = Probe(not message, time.time(), time.monotonic() - began, message)
        return self.probes[method]


def probe_request(served: Served, service: Service) -> Request:
    """Return the smallest request of a method: every count at its least, a grey square for every file it needs.

    Raises:
        UserError: the method needs something that cannot be guessed.
    """
    schema, hints = options_schema(served.method.config), get_type_hints(served.method.config, include_extras=True)
    options: dict[str, Any] = {
        name: option["minimum"]
        for name, option in schema["properties"].items()
        if name in FEWEST and "minimum" in option
    }
    for name in schema["properties"]:
        if name in WORDS and (name in schema["required"] or not schema["properties"][name].get("default")):
            options[name] = WORDS[name]
        elif name in schema["required"] and is_file(hints[name]):
            options[name] = {"name": "grey.png", "sha256": service.jobs.keep_file(grey_square())}
    # A job that is done is not done again: the second makes each probe a new one.
    options["seed"] = int(hashlib.sha256(str(time.time()).encode()).hexdigest()[:7], 16)
    return service.parse({"method": served.name, "options": options})


def grey_square() -> bytes:
    """Return a PNG file of 28 x 28 pixels with a light square in the middle."""
    from PIL import Image

    picture = Image.new("RGB", (28, 28), (0, 0, 0))
    picture.paste((200, 200, 200), (8, 8, 20, 20))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
