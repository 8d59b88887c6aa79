"""`python -m export pixelnerf`: a trained pixelNeRF network to a bundle."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from export.commands.outcome import check_limit, print_outcome


@dataclass(frozen=True, kw_only=True)
class Pixelnerf:
    """Write the bundle of a pixelNeRF network, verify it against PyTorch and print its sizes."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of python -m train.pixelnerf; it may still be training."""
    out: Path
    """Folder of the bundle, whose name the bundle takes; a bundle that is there is replaced."""
    storage: Literal["float32", "float16", "int8"] = "int8"
    """How the encoder's weights are stored."""
    data: str = "objects"
    """Name of the set that it was trained on."""
    objects: Path | None = None
    """Folder of that set: the bundle then lists the nouns of its captions, by which `runtime.lift` chooses a route."""
    licence: str = "Apache-2.0"
    """SPDX expression of the weights' licence."""
    limit: float = 4.0
    """Greatest size of the bundle, MiB."""


def run_pixelnerf(options: Pixelnerf) -> int:
    """Write and verify the bundle; return 1 where a network misses its gate or the bundle its size."""
    check_limit(options.limit)
    from export.pixelnerf import write_pixelnerf
    from export.verify.gates import verify_exported, worst_of
    from runtime.engines.bundle import PixelNeRFBundle
    from runtime.engines.precision import Storage
    from train.latent_diffusion.objects import read_objects
    from train.pixelnerf.kinds import kinds_of
    from train.pixelnerf.runs import load_run

    network = load_run(options.run)
    report = partial(print, flush=True)
    storage = Storage(options.storage)
    kinds = () if options.objects is None else kinds_of(read_objects(options.objects))
    networks = write_pixelnerf(
        network, options.out, report, data=options.data, storage=storage, licence=options.licence, kinds=kinds
    )
    rows = worst_of(verify_exported(PixelNeRFBundle.load(options.out.resolve()), networks))
    return print_outcome(rows, options.out, options.limit)
