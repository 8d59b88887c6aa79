"""`python -m export icons`: the bundle that ships in the package."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from export.commands.outcome import check_limit, print_outcome
from runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Icons:
    """Write the bundle `icons`, verify it against PyTorch and print its sizes."""

    weights: Path | None = None
    """Folder with the run folders autoencoder, denoiser and dual of the training programs, and minilm."""
    run: Path | None = None
    """In place of --weights: one run folder, of python -m train.further or of a denoiser or decoder; all other networks
    are those of --base."""
    base: str = "icons"
    """Bundle that --run was trained on: its name, or a folder."""
    out: Path = Path("runtime/bundles/icons")
    """Folder of the bundle; a bundle that is there is replaced."""
    limit: float = 32.0
    """Greatest size of the bundle, MiB."""


def run_icons(options: Icons) -> int:
    """Write and verify the bundle; return 1 where a network misses its gate or the bundle its size."""
    check_limit(options.limit)
    if (options.weights is None) == (options.run is None):
        got = "none" if options.run is None else "both"
        raise UserError(f"expected --weights with all run folders, or --run with one, got {got}")
    from export.icons import write_icons
    from export.icons.retrained import load_retrained, write_retrained
    from export.icons.weights import load_weights
    from export.verify.gates import verify_exported
    from runtime.engines.bundle import DiffusionBundle

    report = partial(print, flush=True)
    if options.run is not None:
        networks = write_retrained(load_retrained(options.run, options.base), options.out, report)
    else:
        assert options.weights is not None
        networks = write_icons(load_weights(options.weights), options.out, report)
    rows = verify_exported(DiffusionBundle.load(options.out.resolve()), networks)
    return print_outcome(rows, options.out, options.limit)
