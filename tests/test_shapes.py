"""The annotations of shapes are really checked here: what is wrong in shape or dtype is refused."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from jaxtyping import TypeCheckError

from tests.conftest import CHECKED, UNCHECKED, is_checked

ROOT = Path(__file__).parent.parent


HOSTED = ("serving.models.model", "serving.models.onnx_backend")
"""Modules that tritonserver runs: they import what it alone has."""


def modules() -> list[str]:
    """Return the names of all modules of the packages that the hook is for and that can be imported anywhere."""
    files = [file.relative_to(ROOT) for name in CHECKED for file in sorted((ROOT / name).rglob("*.py"))]
    names = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    return [name for name in names if name not in HOSTED]


@pytest.mark.parametrize("name", modules())
def test_the_hook_is_in_every_module_but_those_that_are_left_out(name: str) -> None:
    if UNCHECKED.get(name) == "Triton compiles it":
        pytest.importorskip("triton")
    hooked = type(importlib.import_module(name).__loader__).__name__ == "_JaxtypingLoader"
    assert hooked == is_checked(name)


def test_what_is_left_out_is_there() -> None:
    names = modules()
    for left in UNCHECKED:
        assert any(name == left or name.startswith(left) for name in names), left


def schedule():
    from runtime.guidance.schedule import Schedule

    return Schedule.scaled_linear(beta_start=0.00085, beta_end=0.012, num_timesteps=10)


def call(name: str, *args: object, **options: object) -> None:
    module, _, function = name.rpartition(".")
    getattr(importlib.import_module(module), function)(*args, **options)


BITS = SimpleNamespace(channels=1, levels=2, mixtures=1)
LATENTS, TIMES = torch.zeros(2, 4, 8, 8), torch.zeros(2, dtype=torch.int64)

WRONG: dict[str, Callable[[], object]] = {
    "a time for another batch": lambda: schedule().diffuse(LATENTS, LATENTS, TIMES[:1]),
    "a time that is no integer": lambda: schedule().diffuse(LATENTS, LATENTS, TIMES.float()),
    "noise of another size": lambda: schedule().diffuse(LATENTS, LATENTS[..., :4], TIMES),
    "a picture without batch": lambda: call("runtime.guidance.sds.saturation_penalty", torch.zeros(3, 8, 8)),
    "a picture in bytes": lambda: call(
        "runtime.guidance.sds.saturation_penalty", torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    ),
    "three corners": lambda: call("runtime.guidance.augment.homography", torch.zeros(1, 3, 2), torch.zeros(1, 4, 2)),
    "centres in three dimensions": lambda: call("runtime.vector.paths.circle_points", torch.zeros(2, 3), 1.0),
    "weights of another size": lambda: call(
        "runtime.vector.trace.live.udf_loss", torch.zeros(1, 3, 8, 8), torch.zeros(3, 8, 8), torch.zeros(1, 1, 8)
    ),
    "levels that are no integers": lambda: call("runtime.pixels.heads.to_unit", torch.zeros(1, 4, 1), BITS),
    "a sentence for no picture": lambda: call(
        "train.clip.dual.contrastive_loss", torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    ),
    "marks that are numbers": lambda: call("train.clip.dual.contrastive_loss", torch.zeros(2, 2), torch.ones(2, 2)),
    "an output of another size": lambda: call(
        "train.latent_diffusion.autoencoder.reconstruction_loss", torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 1), 1.0
    ),
}
"""Calls that fail for nothing but a shape or a dtype, most of which would be broadcast or cast in silence."""


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_shape_or_dtype_is_refused(name: str) -> None:
    with pytest.raises(TypeCheckError):
        WRONG[name]()


def test_nothing_is_checked_outside_of_tests() -> None:
    code = (
        "import sys, torch; from runtime.guidance.sds import saturation_penalty;"
        "saturation_penalty(torch.zeros(3, 8, 8)); print('beartype' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.strip() == "False"
