"""Make a bundle from trained weights, or check one.

python -m export icons --weights checkpoints --out runtime/bundles/icons
python -m export objects runs/teacher --out runtime/bundles/objects
python -m export lmconv runs/mnist --out bundles/mnist
python -m export ddpm runs/ddpm --out bundles/mine
python -m export pixelnerf runs/pixelnerf --out bundles/pixelnerf
python -m export sd --weights random:tiny-sd15 --out bundles/tiny
python -m export clip --model tiny-clip --pretrained random:0 --into bundles/tiny
python -m export build bundles/mnist --target sm86,sm89 --precision fp16
python -m export check runtime/bundles/icons
python -m export verify icons
"""

from collections.abc import Mapping, Sequence

from export.commands.build import Build, run_build
from export.commands.check import Check, run_check
from export.commands.clip import Clip, run_clip
from export.commands.ddpm import Ddpm, run_ddpm
from export.commands.icons import Icons, run_icons
from export.commands.lmconv import Lmconv, run_lmconv
from export.commands.objects import Objects, run_objects
from export.commands.pixelnerf import Pixelnerf, run_pixelnerf
from export.commands.sd import Sd, run_sd
from export.commands.timm import Timm, run_timm
from export.commands.verify import Verify, run_verify
from runtime.command.subcommands import Subcommand, run_subcommand
from runtime.errors import run_main

SUBCOMMANDS: Mapping[str, Subcommand] = {
    "icons": Subcommand(Icons, run_icons),
    "objects": Subcommand(Objects, run_objects),
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
    return run_subcommand("export", SUBCOMMANDS, arguments)


if __name__ == "__main__":
    run_main(main)
