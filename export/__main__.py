"""Make a bundle from trained weights, or check one.

python -m export icons --weights checkpoints --out runtime/bundles/icons
python -m export lmconv runs/mnist --out bundles/mnist
python -m export ddpm runs/ddpm --out bundles/mine
python -m export pixelnerf runs/pixelnerf --out bundles/pixelnerf
python -m export sd --weights random:tiny-sd15 --out bundles/tiny
python -m export clip --model tiny-clip --pretrained random:0 --into bundles/tiny
python -m export build bundles/mnist --target sm86,sm89 --precision fp16
python -m export check runtime/bundles/icons
python -m export verify icons
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from export.commands.build import Build, run_build
from export.commands.check import Check, run_check
from export.commands.clip import Clip, run_clip
from export.commands.ddpm import Ddpm, run_ddpm
from export.commands.icons import Icons, run_icons
from export.commands.lmconv import Lmconv, run_lmconv
from export.commands.pixelnerf import Pixelnerf, run_pixelnerf
from export.commands.sd import Sd, run_sd
from export.commands.timm import Timm, run_timm
from export.commands.verify import Verify, run_verify
from runtime.command.listing import subcommand_listing
from runtime.command.options import parse_options
from runtime.command.program import program_name
from runtime.errors import UserError, run_main


@dataclass(frozen=True)
class Subcommand:
    """One line of the table."""

    options: type[Any]
    """Its options; the first line of their docstring says what it does."""
    run: Callable[[Any], int]
    """Runs it with its options; returns the exit code."""


SUBCOMMANDS: Mapping[str, Subcommand] = {
    "icons": Subcommand(Icons, run_icons),
    "lmconv": Subcommand(Lmconv, run_lmconv),
    "ddpm": Subcommand(Ddpm, run_ddpm),
    "pixelnerf": Subcommand(Pixelnerf, run_pixelnerf),
    "sd": Subcommand(Sd, run_sd),
    "clip": Subcommand(Clip, run_clip),
    "timm": Subcommand(Timm, run_timm),
    "build": Subcommand(Build, run_build),
    "check": Subcommand(Check, run_check),
    "verify": Subcommand(Verify, run_verify),
}
"""What `python -m export` does, by the word that a user types."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run one subcommand; without one list them."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given or given[0] in ("-h", "--help"):
        print(subcommand_listing("export", {name: command.options for name, command in SUBCOMMANDS.items()}))
        return 0
    name = given[0]
    if name not in SUBCOMMANDS:
        raise UserError(f"{program_name('export')}: expected one of {', '.join(SUBCOMMANDS)}; got {name!r:.80}")
    command = SUBCOMMANDS[name]
    return command.run(parse_options(command.options, f"export {name}", arguments=given[1:]))


if __name__ == "__main__":
    run_main(main)
