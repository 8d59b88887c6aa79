"""`python -m export icons`: the bundle that ships in the package."""

from dataclasses import dataclass
from pathlib import Path

from export.commands.outcome import check_limit, print_outcome


@dataclass(frozen=True, kw_only=True)
class Icons:
    """Write the bundle `icons`, verify it against PyTorch and print its sizes."""

    weights: Path
    """Folder with the run folders autoencoder, denoiser and dual of the training programs, and minilm."""
    out: Path = Path("runtime/bundles/icons")
    """Folder of the bundle; a bundle that is there is replaced."""
    limit: float = 32.0
    """Greatest size of the bundle, MiB."""


def run_icons(options: Icons) -> int:
    """Write and verify the bundle; return 1 where a network misses its gate or the bundle its size."""
    check_limit(options.limit)
    from export.icons import write_icons
    from export.icons.weights import load_weights
    from export.verify.gates import verify_exported
    from runtime.engines.bundle import DiffusionBundle

    networks = write_icons(load_weights(options.weights), options.out, lambda line: print(line, flush=True))
    rows = verify_exported(DiffusionBundle.load(options.out.resolve()), networks)
    return print_outcome(rows, options.out, options.limit)
