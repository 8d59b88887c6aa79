"""`python -m export lmconv`: a trained LMConv network to a bundle."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from export.commands.outcome import check_limit, print_outcome


@dataclass(frozen=True, kw_only=True)
class Lmconv:
    """Write the bundle of an LMConv network, verify it against PyTorch and print its sizes."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of python -m train.lmconv."""
    out: Path
    """Folder of the bundle, whose name the bundle takes; a bundle that is there is replaced."""
    storage: Literal["float32", "float16", "int8"] = "float16"
    """How weights are stored."""
    licence: str = "Apache-2.0"
    """SPDX expression of the weights' licence."""
    limit: float = 6.0
    """Greatest size of the bundle, MiB."""


def run_lmconv(options: Lmconv) -> int:
    """Write and verify the bundle; return 1 where a network misses its gate or the bundle its size."""
    check_limit(options.limit)
    from export.lmconv import write_lmconv
    from export.verify.gates import verify_exported, worst_of
    from runtime.engines.bundle import LMConvBundle
    from runtime.engines.precision import Storage
    from train.lmconv.runs import load_run

    network, run = load_run(options.run)
    report = partial(print, flush=True)
    storage = Storage(options.storage)
    networks = write_lmconv(network, run, options.out, report, storage=storage, licence=options.licence)
    rows = worst_of(verify_exported(LMConvBundle.load(options.out.resolve()), networks))
    return print_outcome(rows, options.out, options.limit)
