"""Make a bundle from trained weights, or check one.

python -m export icons --weights checkpoints --out runtime/bundles/icons
python -m export check runtime/bundles/icons
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from runtime.errors import UserError, run_main


@dataclass(frozen=True, kw_only=True)
class Icons:
    """Write the bundle `icons`, verify it against PyTorch and print its sizes."""

    weights: Path
    """Folder with the run folders autoencoder, denoiser and dual of the training programs, and minilm."""
    out: Path = Path("runtime/bundles/icons")
    """Folder of the bundle; what is there is replaced."""
    limit: float = 32.0
    """Greatest size of the bundle, MiB."""


@dataclass(frozen=True)
class Check:
    """Verify the hashes of a bundle and print its sizes."""

    bundle: Annotated[str, tyro.conf.Positional]
    """Name of an installed bundle, or its folder."""


def format_sizes(folder: Path) -> str:
    """Return the bytes of a bundle's files and their sum as a Markdown table."""
    from export.bundle import bundle_sizes

    sizes = bundle_sizes(folder)
    lines = ["| file | bytes |", "|---|---|", *(f"| {name} | {size:,} |" for name, size in sizes.items())]
    total = sum(sizes.values())
    return "\n".join([*lines, f"| all | {total:,} ({total / 2**20:.2f} MiB) |"])


def run_icons(options: Icons) -> int:
    """Write and verify the bundle; return 1 where a network misses its gate or the bundle its size."""
    from export.bundle import bundle_sizes
    from export.icons import write_icons
    from export.icons.weights import load_weights
    from export.verify import format_table, verify_cuts
    from runtime.engines.bundle import Bundle

    cuts = write_icons(load_weights(options.weights), options.out, lambda line: print(line, flush=True))
    rows = verify_cuts(Bundle.load(options.out.resolve()), cuts)
    print(format_table(rows))
    print(format_sizes(options.out))
    fits = sum(bundle_sizes(options.out).values()) <= options.limit * 2**20
    if not fits:
        print(f"the bundle is larger than {options.limit:g} MiB")
    return 0 if fits and all(row.passed for row in rows) else 1


def run_check(options: Check) -> int:
    """Load a bundle, which verifies it, and print its sizes."""
    from runtime.engines.bundle import Bundle

    bundle = Bundle.load(options.bundle)
    print(f"bundle {bundle.name} ({bundle.licence}): every file has its hash")
    print(format_sizes(bundle.folder))
    return 0


def main() -> int:
    """Parse the command line and run one command."""
    icons = Annotated[Icons, tyro.conf.subcommand("icons")]
    check = Annotated[Check, tyro.conf.subcommand("check")]
    options = tyro.cli(icons | check, description=__doc__)  # pyright: ignore
    if isinstance(options, Icons):
        if options.limit <= 0:
            raise UserError(f"--limit: expected MiB above 0, got {options.limit:g}")
        return run_icons(options)
    return run_check(options)


if __name__ == "__main__":
    run_main(main)
