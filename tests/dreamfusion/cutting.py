"""A run that is cut and resumed, beside one that is not."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime.command.method import draw
from runtime.dreamfusion import METHOD, Config
from runtime.loop.events import Stepped
from runtime.loop.signals import StoppedRun


def check_cut_run(config: Config, bundle: Any, run: Path, stage: str) -> list[object]:
    """Assert that a run that is cut at a stage's first step, and resumed, ends as a whole one; return whose events."""
    events: list[object] = []
    whole = draw(METHOD, config, bundle, report=events.append)
    stop = threading.Event()

    def report(event: object) -> None:
        if isinstance(event, Stepped) and event.stage == stage and event.step == 1:
            stop.set()

    with pytest.raises(StoppedRun):
        draw(METHOD, config, bundle, run=run, report=report, stop=stop)
    resumed = draw(METHOD, config, bundle, run=run)
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name
    return events
