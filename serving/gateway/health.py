"""Whether the server really draws: a one-step job of each method, done by the very lanes that do the others.

A process that answers may still have lost what it needs: a killed stub of Triton is still called ready. So health
is a job that was done, and readiness is the outcome of the last ones.
"""

import hashlib
import io
import json
import logging
import threading
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from runtime.errors import UserError
from serving.gateway.service import Service
from serving.methods import Served, is_file, options_schema
from serving.requests import Request
from serving.store import DONE, ENDED

FEWEST = ("steps", "refine", "stages", "samples", "count", "paths", "frames", "iterations", "segments", "nodes")
"""Options that a probe sets to their least value, or to one."""

WORDS: Mapping[str, str] = {"prompt": "a red apple", "hide": "top"}
"""Values of the texts that a method needs."""

_LOG = logging.getLogger("serving")

PROBE_S = 300.0
"""Seconds in which a one-step job has to be done: the first one may compile kernels."""


SIDE = 28
"""Pixels along a side of a probe's pictures."""


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
        self.watching = False
        self.closing = threading.Event()
        self.round = threading.Lock()
        """Held while a round of probes is under way: one at a time, whoever asks for it."""

    def methods(self) -> list[str]:
        """Return the methods that can be done: those whose bundle is offered."""
        offers = self.service.offers
        return [name for name, served in self.service.served.items() if offers.suffice(served.method.kinds)]

    def watch(self, every_s: float) -> None:
        """Probe each method now and then, in a thread of its own; until the first round is over nothing is ready."""
        self.watching = True
        threading.Thread(target=self._watch, args=(every_s,), name="health", daemon=True).start()

    def _watch(self, every_s: float) -> None:
        wait = 0.0
        while not self.closing.wait(wait):
            with self.round:
                self.probe_all(self.methods(), priority=0)
            wait = every_s

    def probe_all(self, names: Sequence[str], priority: int = 10) -> None:
        """Probe some methods one after the other, unless the server is about to end."""
        for name in names:
            if self.closing.is_set() or self.service.jobs.draining:
                return
            probe = self.probe(name, priority)
            if not probe.ok:
                _LOG.warning("probe of %s: %s", name, probe.message)

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Return whether new jobs will be done, and why not."""
        draining = self.service.jobs.draining
        failed = sorted(name for name, probe in self.probes.items() if not probe.ok)
        missing = sorted({name for lane in self.service.pool.lanes for name in lane.missing()})
        details = {
            "draining": draining,
            "lanes": len(self.service.pool.lanes),
            "missing": missing,
            "probes": {name: probe.to_json() for name, probe in self.probes.items()},
        }
        begun = not self.watching or set(self.methods()) <= set(self.probes)
        return begun and not draining and not failed and not missing, details

    def probe(self, method: str, priority: int = 10) -> Probe:
        """Do a one-step job of a method and return how it went; it waits for a lane as other jobs do."""
        served, began = self.service.served[method], time.monotonic()
        try:
            request = probe_request(served, self.service)
            name = f"probe-{method}-{int(began * 1000)}"
            self.service.jobs.submit(request, name=name, priority=priority, hidden=True, deadline_s=PROBE_S)
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
        name: max(1, option["minimum"])
        for name, option in schema["properties"].items()
        if name in FEWEST and "minimum" in option
    }
    for name in schema["properties"]:
        if name in WORDS and (name in schema["required"] or not schema["properties"][name].get("default")):
            options[name] = WORDS[name]
        elif name in FOLDERS:
            options[name] = {"name": "grey.zip", "sha256": service.jobs.keep_file(FOLDERS[name]())}
        elif name in schema["required"] and is_file(hints[name]):
            options[name] = {"name": "grey.png", "sha256": service.jobs.keep_file(grey_square())}
    # A job that is done is not done again: the second makes each probe a new one.
    options["seed"] = int(hashlib.sha256(str(time.time()).encode()).hexdigest()[:7], 16)
    return service.parse({"method": served.name, "options": options})


def grey_square() -> bytes:
    """Return a PNG file with a light square in the middle."""
    from PIL import Image

    picture = Image.new("RGB", (SIDE, SIDE), (0, 0, 0))
    picture.paste((200, 200, 200), (8, 8, 20, 20))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def grey_capture() -> bytes:
    """Return a .zip file of a few photos of the light square, from cameras in front of it, in nerfstudio's format."""
    stream, frames = io.BytesIO(), []
    with zipfile.ZipFile(stream, "w") as packed:
        for number, aside in enumerate((-0.5, 0.0, 0.5, 1.0)):
            name = f"{number}.png"
            packed.writestr(zipfile.ZipInfo(name), grey_square())
            # Camera-to-world, looking down -z: each stands a bit further to the right.
            pose = [[1, 0, 0, aside], [0, 1, 0, 0], [0, 0, 1, 3], [0, 0, 0, 1]]
            frames.append({"file_path": name, "transform_matrix": pose})
        lens = {"fl_x": 40.0, "fl_y": 40.0, "cx": SIDE / 2, "cy": SIDE / 2, "w": SIDE, "h": SIDE}
        document = {"camera_model": "OPENCV", **lens, "orientation_override": "none", "frames": frames}
        packed.writestr(zipfile.ZipInfo("transforms.json"), json.dumps(document))
    return stream.getvalue()


FOLDERS: Mapping[str, Callable[[], bytes]] = {"capture": grey_capture}
"""Archives that a probe sends where a method reads a folder."""
