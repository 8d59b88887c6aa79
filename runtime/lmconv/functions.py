"""Completion and sampling as functions, for Python: options as keywords, pictures as results."""

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from runtime.command.method import draw
from runtime.engines.bundle import LMConvBundle
from runtime.lmconv import COMPLETE, SAMPLE, Complete, Sample
from runtime.lmconv.sheets import to_rgb


def complete(
    picture: str | Path, hide: str, *, bundle: LMConvBundle | str = "mnist", **options: Any
) -> Float[Tensor, "K 3 H W"]:
    """Return completions of a picture of which a part is hidden, RGB in [0, 1].

    Args:
        picture: file of the picture.
        hide: top, left, bottom, right, centre, or the file of a picture that is white where it hides.
        bundle: an LMConv bundle, its name or its folder.
        **options: fields of `runtime.lmconv.Complete`, such as `samples`, `order` and `seed`.

    Raises:
        UserError: an option is out of range or a file does not fit.
    """
    networks = LMConvBundle.load(bundle) if isinstance(bundle, str) else bundle
    scene: Any = draw(COMPLETE, Complete(picture=Path(picture), hide=hide, **options), networks)
    return to_rgb(scene.levels, networks.manifest)


def sample(*, bundle: LMConvBundle | str = "mnist", **options: Any) -> Float[Tensor, "K 3 H W"]:
    """Return pictures that an LMConv network draws, RGB in [0, 1].

    Args:
        bundle: an LMConv bundle, its name or its folder.
        **options: fields of `runtime.lmconv.Sample`, such as `count`, `order` and `seed`.

    Raises:
        UserError: an option is out of range.
    """
    networks = LMConvBundle.load(bundle) if isinstance(bundle, str) else bundle
    scene: Any = draw(SAMPLE, Sample(**options), networks)
    return to_rgb(scene.levels, networks.manifest)
