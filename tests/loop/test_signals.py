import signal
import threading

import pytest

from runtime.loop.signals import InterruptedRun, StoppedRun, raise_if_stopped, stop_on_signals


def test_the_first_signal_sets_the_event_and_the_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert not stop.is_set()
        raise_if_stopped(stop, "stage", 3)
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set() and stop.number == signal.SIGTERM
        with pytest.raises(InterruptedRun, match="step 3 of stage 'stage'") as caught:
            raise_if_stopped(stop, "stage", 3)
        assert caught.value.signal_number == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_somebody_elses_event_is_no_interruption() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedRun, match="step 0 of stage 'x'"):
        raise_if_stopped(stop, "x", 0)


def test_outside_the_main_thread_signals_stay_as_they_are() -> None:
    before = signal.getsignal(signal.SIGINT)
    handlers: list[object] = []

    def work() -> None:
        with stop_on_signals() as stop:
            handlers.extend((signal.getsignal(signal.SIGINT), stop.is_set()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before, False]
