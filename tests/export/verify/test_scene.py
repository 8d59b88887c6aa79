"""The gradient of a whole scene: that of the loop's own loss, and off where a network is."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from export.verify.scene import PROMPT, Replaced, scene_gradients, verify_scene
from export.verify.stored import BundleReferences
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from runtime.loop.optimize import generator_of
from runtime.vectorfusion import METHOD, SDS_FROM_SCRATCH


class Noisy:
    """An engine whose output is off by a share of its own size."""

    def __init__(self, engine, share: float) -> None:
        self.engine, self.spec, self.share = engine, engine.spec, share

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (output,) = self.engine(*inputs)
        noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
        return (output + self.share * output.std() * noise,)


def ignore(_line: str) -> None:
    pass


def test_the_scene_s_gradient_sees_a_denoiser_that_is_off(bundle: DiffusionBundle, stored: BundleReferences) -> None:
    (row,) = verify_scene(bundle, stored, ignore)
    assert row.comparison.passed
    assert row.comparison.cosine > 0.99999
    off = Replaced(bundle, {"denoiser": Noisy(bundle.engine("denoiser"), 0.3)})
    (row,) = verify_scene(off, stored, ignore)
    assert not row.comparison.passed
    assert row.result.role == "denoiser"
    assert row.result.provider == "scene"


def gradients_by_hand(bundle: DiffusionBundle, places: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Return points' and colours' gradients at some steps of a whole run, each on a scene of its own."""
    config = replace(SDS_FROM_SCRATCH, prompt=PROMPT, gradients="torch", paths=4)
    gradients = []
    for place in places:
        stage = METHOD.build(config, bundle, torch.Generator(), run=None, report=lambda event: None)[-1]
        scene = stage.begin(None, generator_of(0, 0, 0, "begin"))
        assert stage.loss is not None
        torch.stack(list(stage.loss(scene, place, generator_of(0, 0, place, "loss")).values())).sum().backward()
        gradients.append((scene.points.grad, scene.colours.grad))  # pyright: ignore[reportAttributeAccessIssue]
    return gradients


def test_the_scene_s_gradients_are_those_of_the_loop_s_loss_over_the_whole_schedule(bundle: DiffusionBundle) -> None:
    steps = SDS_FROM_SCRATCH.steps
    gradients = scene_gradients(bundle, "torch", draws=2, paths=4)
    assert gradients["colours"].shape == (2, 4, 4)
    for row, (points, colours) in enumerate(gradients_by_hand(bundle, [0, steps // 2])):
        assert torch.equal(gradients["points"][row], points[0])
        assert torch.equal(gradients["colours"][row], colours[0])
    assert not torch.equal(gradients["points"][0], gradients["points"][1])


def test_gradients_that_a_bundle_lacks_are_refused(bundle: DiffusionBundle) -> None:
    with pytest.raises(UserError, match=r"no file latent_encoder/vjp\.onnx"):
        scene_gradients(bundle, "engine", draws=1)


def test_without_a_reference_there_is_no_scene(bundle: DiffusionBundle, stored: BundleReferences) -> None:
    lines: list[str] = []
    assert verify_scene(bundle, {"denoiser": stored["denoiser"]}, lines.append) == []
    assert lines == ["scene: no reference for the denoiser and the latent encoder; left out"]
