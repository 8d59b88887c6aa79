"""Runs a method's command, tells where the time went by part, and prints that as JSON in the last line.

`python -m benchmarks.start` runs it in a process of its own. It stands alone and imports nothing of this package, so
that it measures any checkout: parts that one lacks have no time.
"""

import builtins
import contextlib
import importlib
import json
import os
import resource
import runpy
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

PARTS: tuple[tuple[str, str, str], ...] = (
    ("runtime.engines.bundle.folder", "Bundle.__init__", "bundle"),
    ("runtime.engines.bundle.folder", "Bundle._engine_of", "sessions"),
    ("runtime.vectorfusion.stages", "encode_prompt", "text"),
    ("runtime.guidance.samples", "sample_latents", "sampling"),
    ("runtime.guidance.samples", "rank", "ranking"),
    ("runtime.guidance.samples", "best_sample", "decoding"),
    ("runtime.vectorfusion.stages", "trace", "tracing"),
    ("runtime.loop.optimize", "_Loop.advance", "stage"),
    ("runtime.command.run", "write_files", "files"),
    ("numba.core.dispatcher", "Dispatcher.compile", "kernels"),
)
"""Module, function and the part that its time belongs to; "stage" stands for the name of the loop's stage."""


class Clock:
    """Splits the main thread's time among parts; what a part calls of another part is that one's."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._stack: list[str] = []
        self._since = (time.monotonic(), time.process_time())

    @contextlib.contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Count a block's time as a part's; blocks of other threads count for whatever the main thread does."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._split()
        self._stack.append(part)
        try:
            yield
        finally:
            self._split()
            self._stack.pop()

    def _split(self) -> None:
        now = (time.monotonic(), time.process_time())
        total = self.seconds.setdefault(self._stack[-1] if self._stack else "other", [0.0, 0.0])
        for index in range(2):
            total[index] += now[index] - self._since[index]
        self._since = now


def hooked(clock: Clock) -> None:
    """Time imports from now on, and each of `PARTS` once its module is there."""
    waiting = list(PARTS)
    inner = builtins.__import__, importlib.import_module

    def patch() -> None:
        for entry in list(waiting):
            module, path, part = entry
            loaded = sys.modules.get(module)
            spec = getattr(loaded, "__spec__", None)
            if loaded is None or getattr(spec, "_initializing", False):
                continue
            waiting.remove(entry)
            *above, name = path.split(".")
            with contextlib.suppress(AttributeError):
                owner: Any = loaded
                for step in above:
                    owner = getattr(owner, step)
                setattr(owner, name, timed(getattr(owner, name), part))

    def timed(function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            named = arguments[0].stages[arguments[0].index].name if part == "stage" else part
            with clock.of(named):
                return function(*arguments, **options)

        return call

    def importing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(name: str, *arguments: Any, **options: Any) -> Any:
            # What is there already costs nothing, and most imports are of such.
            if name in sys.modules and not (len(arguments) > 2 and arguments[2]):
                return original(name, *arguments, **options)
            with clock.of("imports"):
                module = original(name, *arguments, **options)
            patch()
            return module

        return call

    builtins.__import__, importlib.import_module = (importing(function) for function in inner)


def run(words: list[str]) -> None:
    """Run a command of the runtime and end the process.

    Args:
        words: the method's name and its arguments.
    """
    clock = Clock()
    begun = time.monotonic()
    startup = time.process_time()
    hooked(clock)
    sys.argv = [f"runtime.{words[0]}", *words[1:]]
    output, sys.stdout = sys.stdout, sys.stderr
    with contextlib.suppress(SystemExit):
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=False)
    with clock.of("end"):
        pass
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "parts": {"interpreter": [startup, startup], **clock.seconds},
        "wall": time.monotonic() - begun + startup,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }
    print(json.dumps(result), file=output, flush=True)
    # As the process would end by itself, but for what the interpreter frees on its way out.
    os._exit(0)
