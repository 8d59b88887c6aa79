"""How a run is stopped: by an event that a server sets, or by Ctrl-C and SIGTERM, which set one here."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class StoppedRun(Exception):
    """A run whose `stop` event was set; its state is saved, and the same request resumes it."""

    def __init__(self, stage: str, step: int) -> None:
        self.stage, self.step = stage, step
        super().__init__(f"stopped after step {step} of stage '{stage}'")


class InterruptedRun(KeyboardInterrupt):
    """A run that a signal stopped; its state is saved. `signal_number` is SIGINT's or SIGTERM's."""

    def __init__(self, signal_number: int, stage: str, step: int) -> None:
        self.signal_number, self.stage, self.step = signal_number, stage, step
        super().__init__(f"stopped after step {step} of stage '{stage}'")


class SignalStop(threading.Event):
    """A stop event that the first signal sets; a second signal interrupts at once."""

    number: int = signal.SIGINT

    def __call__(self, number: int, _frame: object) -> None:
        """Handle a signal."""
        # Whoever presses Ctrl-C twice does not want to wait for the step to end.
        if self.is_set():
            raise KeyboardInterrupt
        self.number = number
        self.set()


def raise_if_stopped(stop: threading.Event, stage: str, step: int) -> None:
    """Raise `InterruptedRun` where a signal has set the event, `StoppedRun` where somebody else has."""
    if stop.is_set():
        raise InterruptedRun(stop.number, stage, step) if isinstance(stop, SignalStop) else StoppedRun(stage, step)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[SignalStop]:
    """Yield an event that SIGINT and SIGTERM set while the block runs.

    An update that is cut in the middle leaves a state that no uninterrupted run passes through, and an engine that is
    cut leaves threads at work while the interpreter ends. So loops look at the event between steps. Nested blocks share
    one event: no signal falls between two loops of one run. Outside the main thread, where Python allows no handler,
    signals stay as they are.
    """
    outer = signal.getsignal(signal.SIGINT)
    if isinstance(outer, SignalStop):
        yield outer
        return
    stop = SignalStop()
    try:
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    # Python allows handlers in the main thread only.
    except ValueError:
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
