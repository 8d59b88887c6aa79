"""Options of the measurements that print a row a case."""

from dataclasses import dataclass

import torch
import tyro

from runtime.command.ranges import Threads


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Which cases are measured, and how the figures are printed."""

    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print a JSON object a line in place of the table."""
    threads: Threads | None = None
    """Threads; by default PyTorch's choice."""
    only: str = ""
    """Measure only the cases whose name contains this."""

    def set_threads(self) -> None:
        """Give PyTorch as many threads as were asked for."""
        if self.threads:
            torch.set_num_threads(self.threads)
