"""`python -m export objects`: the bundle of a denoiser that knows cameras."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from export.commands.outcome import check_limit, print_outcome
from runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Write the bundle of a camera-aware denoiser, verify it against PyTorch and print its sizes."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """Run folder of python -m train.latent_diffusion.teacher or python -m train.further; none, with --dual: everything
    else is that of --base, a bundle of this kind."""
    dual: Path | None = None
    """Run folder of python -m train.clip --objects: the bundle's own dual encoder; by default it shares the base's."""
    base: str = "icons"
    """Bundle whose denoiser was trained on, and whose other networks the new one shares: its name, or a folder."""
    out: Path = Path("runtime/bundles/objects")
    """Folder of the bundle, whose name the bundle takes; a bundle that is there is replaced. Put it beside the base."""
    limit: float = 9.0
    """Greatest size of the bundle, without what the base has, MiB."""


def run_objects(options: Objects) -> int:
    """Write and verify the bundle; return 1 where a network misses its gate or the bundle its size."""
    check_limit(options.limit)
    from export.objects import load_dual, load_source, write_dual, write_objects
    from export.verify.gates import verify_exported
    from runtime.engines.bundle import DiffusionBundle

    report = partial(print, flush=True)
    if options.run is not None:
        networks = write_objects(load_source(options.run, options.base, options.dual), options.out, report)
    elif options.dual is not None:
        networks = write_dual(DiffusionBundle.load(options.base), load_dual(options.dual), options.out, report)
    else:
        raise UserError("expected the run folder of a denoiser, or --dual with that of a dual encoder, got none")
    rows = verify_exported(DiffusionBundle.load(options.out.resolve()), networks)
    return print_outcome(rows, options.out, options.limit)
