"""Make a bundle from trained weights, or check one.

    python -m export icons --weights checkpoints --out runtime/bundles/icons
    python -m export lmconv runs/mnist --out bundles/mnist
    python -m export sd --weights random:tiny-sd15 --out bundles/tiny
    python -m export clip --model tiny-clip --pretrained random:0 --into bundles/tiny
    python -m export build bundles/mnist --target sm86,sm89 --precision fp16
    python -m export check runtime/bundles/icons
    python -m export verify icons

Each names its options with --help. Exit code 1: a network misses its gate, or the bundle its size.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Union

import tyro

from export.commands.build import Build, run_build
from export.commands.clip import Clip, Timm, run_encoders
from export.commands.sd import Sd, run_sd
from export.commands.verify import Verify, run_verify
from runtime.command.listing import subcommand_listing
from runtime.command.options import parse_options
from runtime.errors import UserError, run_main

if TYPE_CHECKING:
    from export.verify.gates import Comparison


@dataclass(frozen=True, kw_only=True)
class Icons:
    """Write the bundle `icons`, verify it against PyTorch and print its sizes."""

    weights: Path
    """Folder with the run folders autoencoder, denoiser and dual of the training programs, and minilm."""
    out: Path = Path("runtime/bundles/icons")
    """Folder of the bundle; what is there is replaced."""
    limit: float = 32.0
    """Greatest size of the bundle, MiB."""


@dataclass(frozen=True, kw_only=True)
class Lmconv:
    """Write the bundle of an LMConv network, verify it against PyTorch and print its sizes."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of python -m train.lmconv."""
    out: Path
    """Folder of the bundle, whose name the bundle takes; what is there is replaced."""
    scheme: Literal["float32", "float16", "int8"] = "float16"
    """How weights are stored."""
    licence: str = "Apache-2.0"
    """SPDX expression of the weights' licence."""
    limit: float = 6.0
    """Greatest size of the bundle, MiB."""


@dataclass(frozen=True)
class Check:
    """Verify the hashes of a bundle and print its sizes."""

    bundle: Annotated[str, tyro.conf.Positional]
    """Name of an installed bundle, or its folder."""


COMMANDS = {
    "icons": Icons,
    "lmconv": Lmconv,
    "sd": Sd,
    "clip": Clip,
    "timm": Timm,
    "build": Build,
    "check": Check,
    "verify": Verify,
}
"""What can be asked for, by name."""


def run_icons(options: Icons) -> int:
    """Write and verify the bundle; return 1 where a network misses its gate or the bundle its size."""
    from export.icons import write_icons
    from export.icons.weights import load_weights
    from export.verify.gates import verify_cuts
    from runtime.engines.bundle import DiffusionBundle

    cuts = write_icons(load_weights(options.weights), options.out, lambda line: print(line, flush=True))
    rows = verify_cuts(DiffusionBundle.load(options.out.resolve()), cuts)
    return _tell(rows, options.out, options.limit)


def run_lmconv(options: Lmconv) -> int:
    """Write and verify the bundle; return 1 where a network misses its gate or the bundle its size."""
    from export.lmconv import write_lmconv
    from export.verify.gates import verify_cuts, worst_of
    from runtime.engines.bundle import LMConvBundle
    from train.lmconv.runs import load_run

    network, run = load_run(options.run)
    if options.out.is_dir() and any(options.out.iterdir()) and not (options.out / "bundle.json").is_file():
        raise UserError(f"--out '{options.out}' holds other files than a bundle; choose another folder")
    report = partial(print, flush=True)
    cuts = write_lmconv(network, run, options.out, report, scheme=options.scheme, licence=options.licence)
    rows = worst_of(verify_cuts(LMConvBundle.load(options.out.resolve()), cuts))
    return _tell(rows, options.out, options.limit)


def _tell(rows: "Sequence[Comparison]", folder: Path, limit: float) -> int:
    """Print what a bundle reaches and its sizes; return 0 where both are as they should be, else 1."""
    from export.verify.gates import format_table
    from export.write.bundle import bundle_sizes, format_sizes

    print(format_table(rows))
    print(format_sizes(folder))
    fits = sum(bundle_sizes(folder).values()) <= limit * 2**20
    if not fits:
        print(f"the bundle is larger than {limit:g} MiB")
    return 0 if fits and all(row.passed for row in rows) else 1


def run_check(options: Check) -> int:
    """Load a bundle, which verifies it, and print its sizes."""
    from export.write.bundle import format_sizes
    from runtime.engines.bundle import Bundle

    bundle = Bundle.load(options.bundle)
    print(f"bundle {bundle.name} ({bundle.licence}): every file has its hash")
    print(format_sizes(bundle.folder))
    return 0


def main() -> int:
    """Parse the command line and run one command; without arguments list them."""
    if not sys.argv[1:]:
        print(subcommand_listing("export", COMMANDS))
        return 0
    kinds = [Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items()]  # pyright: ignore
    options = parse_options(Union[*kinds], "export", description=__doc__)  # pyright: ignore
    return _run(options)


def _run(options: object) -> int:
    """Run the command that the options are of, and return its exit code."""
    if isinstance(options, Check):
        return run_check(options)
    if isinstance(options, Verify):
        return run_verify(options)
    if isinstance(options, Clip | Timm):
        return run_encoders(options)
    if isinstance(options, Sd):
        return run_sd(options)
    if isinstance(options, Build):
        return run_build(options)
    assert isinstance(options, Icons | Lmconv)
    if options.limit <= 0:
        raise UserError(f"--limit: expected MiB above 0, got {options.limit:g}")
    return run_icons(options) if isinstance(options, Icons) else run_lmconv(options)


if __name__ == "__main__":
    run_main(main)
