"""The gradient of a whole vector scene: do this machine's engines pull points and colours as the reference does?

The loss is that of text to SVG itself: rendering, augmentation, encoder, noise, guided denoiser. Its seeds are those of
the loop, so that both sides draw the same views, times and noise, and differ in nothing but the networks.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from export.verify.bundle import Row, worst
from export.verify.gates import GATES, Check, Comparison, compare
from export.verify.inputs import Reference, as_engine, is_large
from runtime.command.method import Method, draw
from runtime.engines.backends.results import VerificationResult
from runtime.engines.backends.table import BACKENDS, Choice
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.precision import Compute
from runtime.engines.protocols import Engine
from runtime.errors import UserError
from runtime.loop.events import Event, Stepped
from runtime.loop.optimize import Stage, generator_of
from runtime.vectorfusion import METHOD, SDS_FROM_SCRATCH, Config

DRAWS = 8
"""Views, times and noises that a scene's gradient is compared at."""

FEW_DRAWS = 2
"""The same where a network is large."""

PROMPT = "a red apple"


class Replaced(DiffusionBundle):
    """A bundle with some of its networks replaced."""

    def __init__(self, bundle: DiffusionBundle, engines: Mapping[str, Engine]) -> None:
        """Open the bundle's folder again.

        Args:
            bundle: the bundle.
            engines: what runs a role's network instead; gradients pass through those that pass them.
        """
        super().__init__(
            bundle.folder,
            device=bundle.device,
            threads=bundle.threads,
            backend=bundle.backend,
            compile=bundle.compile,
        )
        self.replaced: Mapping[str, Any] = engines

    def engine(self, role: str, *, threads: int | None = None) -> Any:
        """Return the engine of a role."""
        return self.replaced[role] if role in self.replaced else super().engine(role, threads=threads)

    def eager_engine(self, role: str) -> Engine:
        """Return the engine of a role through which gradients pass."""
        return self.replaced[role] if role in self.replaced else super().eager_engine(role)


def still_method(draws: int) -> Method[Config]:
    """Return text to SVG as a method that optimizes nothing: its last stage alone, on a scene that stays as it begins.

    So `draw` makes the loop's own draws, losses and gradients, and every step is about the same scene.

    Args:
        draws: steps that it takes, spread over those of the stage, so over the times of the schedule.
    """

    def build(*arguments: Any, **options: Any) -> list[Stage]:
        stage = METHOD.build(*arguments, **options)[-1]
        loss = stage.loss
        assert loss is not None

        def spread(scene: Any, step: int, _generator: torch.Generator) -> dict[str, Tensor]:
            # Times may shrink over a run, so the steps are spread over all of it; each has the draws of its own place.
            place = step * stage.steps // draws
            return loss(scene, place, generator_of(0, 0, place, "loss"))

        return [replace(stage, steps=draws, loss=spread, lr_factor=lambda step: 0.0, after=None, snapshots=0)]

    return replace(METHOD, build=build)


def scene_gradients(bundle: DiffusionBundle, gradients: str, draws: int = DRAWS, **changes: Any) -> dict[str, Tensor]:
    """Return the gradients of the loss by an icon's points and colours as it begins from scratch, each (draws, ...).

    Args:
        bundle: the networks.
        gradients: what differentiates the latent encoder.
        draws: how many gradients.
        changes: options other than the preset's own.

    Raises:
        UserError: the bundle has no such gradients.
    """
    options: dict[str, Any] = {"prompt": PROMPT, "gradients": gradients, **changes}
    config = replace(SDS_FROM_SCRATCH, **options)
    parts: dict[str, list[Tensor]] = {"points": [], "colours": []}

    def note(event: Event) -> None:
        if isinstance(event, Stepped):
            for name, collected in parts.items():
                # A step clears the gradients before its own, so these are the last step's alone.
                collected.append(getattr(event.scene, name).grad.clone())

    draw(still_method(draws), config, bundle, report=note)
    return {name: torch.cat(collected) for name, collected in parts.items()}


def verify_scene(
    bundle: DiffusionBundle, references: Mapping[str, Reference], report: Callable[[str], None]
) -> list[Row]:
    """Return a row for each provider of gradients with which this bundle's loop can run.

    Args:
        bundle: the bundle, loaded for a device and a backend.
        references: of the denoiser and the latent encoder at least.
        report: called with what cannot be compared.
    """
    both = {role: references[role] for role in ("denoiser", "latent_encoder") if role in references}
    if len(both) < 2 or both["latent_encoder"].module is None:
        report("scene: no reference for the denoiser and the latent encoder; left out")
        return []
    choice = bundle.choices()["denoiser"]
    draws = FEW_DRAWS if any(is_large(reference) for reference in both.values()) else DRAWS
    report(f"verifying the scene's gradient with {choice} on {bundle.device}")
    # Only these two carry the loss; text encoder and rasterizer are the same on both sides.
    exact = Replaced(bundle, {role: as_engine(reference) for role, reference in both.items()})
    # By PyTorch on the reference's side: both rows of the table are compared with the same gradients.
    expected = scene_gradients(exact, "torch", draws)
    rows = []
    for gradients in ("torch", "engine"):
        try:
            computed = scene_gradients(bundle, gradients, draws)
        # A bundle without a gradient graph has no engine for it; the other row is still worth having.
        except UserError as error:
            report(f"scene: gradients by {gradients} left out: {error}")
            continue
        role = "denoiser" if gradients == "torch" else "latent_encoder"
        comparison = _compare(choice, gradients, expected, computed)
        result = _result(choice, role, both[role].precision, comparison)
        rows.append(Row(comparison=comparison, result=result, batches=(1,), remark=f"{draws} draws"))
    return rows


def _compare(
    choice: Choice, gradients: str, expected: Mapping[str, Tensor], computed: Mapping[str, Tensor]
) -> Comparison:
    label = f"{BACKENDS[choice.backend].title} {choice.device.upper()} {choice.precision}".strip()
    name = f"scene: denoiser {label}, encoder {'PyTorch' if gradients == 'torch' else 'engine'}"
    gate = GATES[Check.SCENE]
    return worst(name, [compare(name, expected[part], computed[part], gate) for part in expected], gate)


def _result(choice: Choice, role: str, precision: str, comparison: Comparison) -> VerificationResult:
    """Return the result of a row for the role that it is about."""
    compute = Compute(choice.precision or Compute.MODEL)
    return VerificationResult(
        role=role,
        provider="scene",
        backend=choice.backend if role == "denoiser" else "ort",
        device=choice.device.partition(":")[0],
        precision=choice.precision if compute is not Compute.MODEL else precision,
        passed=comparison.passed,
        max_error=comparison.max_error,
        snr_db=comparison.snr_db,
        cosine=comparison.cosine,
    )
