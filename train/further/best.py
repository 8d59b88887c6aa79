"""Keeps the averaged weights that are best on what is held out."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from runtime.files import replace_file
from train.further.subject import Further

DRAWS = 8
"""Batches whose mean loss is compared; the same ones each time."""


class Best:
    """Told of a checkpoint, takes its averaged weights' loss on what is held out, and copies those that are best."""

    def __init__(self, further: Further, run: Path, out: Path, device: str, report: Callable[[str], object]) -> None:
        """Take the loss of the weights to begin with.

        Args:
            further: what is trained.
            run: folder of the loop's checkpoints.
            out: folder of the best weights.
            device: where the network is.
            report: called with each loss.
        """
        self.further, self.run, self.out, self.device, self.report = further, run, out, device, report
        # of its own: the network that is trained is in the middle of a run
        self.network = copy.deepcopy(further.network).to(device).eval()
        self.loss = math.inf
        self.start = self.loss = self._measure()
        self._log(0, self.start)

    @torch.no_grad()
    def _measure(self) -> float:
        losses = []
        for draw in range(DRAWS):
            generator = torch.Generator(self.device).manual_seed(draw)
            losses.append(self.further.held_out(self.network, generator))
        return float(torch.stack(losses).mean())

    def _log(self, step: int, loss: float) -> None:
        with (self.out / "held_out.jsonl").open("a") as log:
            log.write(json.dumps({"step": step, "loss": loss}) + "\n")
        self.report(f"step {step}: held-out loss {loss:.5f}, {loss / self.start - 1:+.1%} of the start's")

    def __call__(self, step: int) -> None:
        """Take the loss of the checkpoint, and keep its weights if they are the best."""
        path = self.run / "ema.safetensors"
        # A run holds what is trained; the rest stays as it is.
        self.network.load_state_dict(load_file(path, device=self.device), strict=False)
        loss = self._measure()
        self._log(step, loss)
        if loss < self.loss:
            self.loss = loss
            replace_file(self.out / "ema.safetensors", path.read_bytes())
            replace_file(self.out / "checkpoint.json", json.dumps({"step": step}))
