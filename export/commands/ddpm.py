"""`python -m export ddpm`: a diffusion model of pixels to a bundle."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from export.commands.outcome import check_limit, print_outcome
from runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Ddpm:
    """Write the bundle of a diffusion model of pixels, verify it against PyTorch and print its sizes."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """Run folder of python -m train.ddpm."""
    weights: Path | None = None
    """In its place: a folder of diffusers, or of an official checkpoint that was converted, with config.json."""
    out: Path
    """Folder of the bundle, whose name the bundle takes; a bundle that is there is replaced."""
    storage: Literal["float32", "float16", "int8"] = "int8"
    """How weights are stored."""
    licence: str = "Apache-2.0"
    """SPDX expression of the weights' licence."""
    limit: float = 1200.0
    """Greatest size of the bundle, MiB."""


def run_ddpm(options: Ddpm) -> int:
    """Write and verify the bundle; return 1 where a network misses its gate or the bundle its size."""
    check_limit(options.limit)
    if (options.run is None) == (options.weights is None):
        raise UserError("export ddpm: expected a run folder or --weights, got both or neither; give one of them")
    from export.ddpm import write_ddpm
    from export.ddpm.source import source_of_run, source_of_weights
    from export.verify.gates import verify_exported
    from runtime.engines.bundle import DdpmBundle
    from runtime.engines.precision import Storage

    source = source_of_run(options.run) if options.run is not None else source_of_weights(options.weights or Path())
    report, storage = partial(print, flush=True), Storage(options.storage)
    networks = write_ddpm(source, options.out, report, storage=storage, licence=options.licence)
    rows = verify_exported(DdpmBundle.load(options.out.resolve()), networks)
    return print_outcome(rows, options.out, options.limit)
