"""Does a bundle compute what PyTorch computes in float32: error, signal to noise and cosine, each with its gate."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from export.network import ExportedNetwork
from runtime.engines.bundle import Bundle, DiffusionBundle
from runtime.engines.precision import Compute, Storage


@dataclass(frozen=True)
class Gate:
    """What a comparison has to reach."""

    snr_db: float
    """Least signal-to-noise ratio, dB."""
    cosine: float
    """Least cosine of any example."""


class Check(StrEnum):
    """What is compared besides a network's outputs."""

    GRADIENT = "gradient"
    """A vector-Jacobian product of an engine, beside that of the weights before they are stored."""
    SAME_WEIGHTS = "same_weights"
    """Outputs of two backends with the same stored weights."""
    SAME_WEIGHTS_GRADIENT = "same_weights_gradient"
    """Vector-Jacobian products of the same."""
    SCENE = "scene"
    """The gradient of a whole scene, in which guidance multiplies the denoiser's errors by tens."""


GATES: Mapping[Storage | Compute | Check, Gate] = {
    Storage.FLOAT32: Gate(80.0, 0.999999),
    Storage.FLOAT16: Gate(50.0, 0.99999),
    Storage.INT8: Gate(28.0, 0.999),
    Compute.FP16: Gate(35.0, 0.999),
    Compute.BF16: Gate(25.0, 0.995),
    Compute.TF32: Gate(45.0, 0.9999),
    Check.GRADIENT: Gate(25.0, 0.998),
    Check.SAME_WEIGHTS: Gate(80.0, 0.999999),
    Check.SAME_WEIGHTS_GRADIENT: Gate(70.0, 0.9999),
    Check.SCENE: Gate(20.0, 0.995),
}
"""What a comparison has to reach, by the way that weights are stored or products computed, or by what is compared."""


@dataclass(frozen=True)
class Comparison:
    """One line of the table."""

    name: str
    """What was compared."""
    max_error: float
    """Greatest absolute difference."""
    snr_db: float
    """Mean square of the reference over that of the difference, dB."""
    cosine: float
    """Least cosine of an example with its reference."""
    gate: Gate
    """What it has to reach."""

    @property
    def passed(self) -> bool:
        """Whether both figures reach their gate; a figure that is not a number does not."""
        # written so that a comparison with NaN fails
        return self.snr_db >= self.gate.snr_db and self.cosine >= self.gate.cosine


def compare(name: str, reference: Float[Tensor, "B ..."], output: Float[Tensor, "B ..."], gate: Gate) -> Comparison:
    """Return how far an output is from its reference; a `ValueError` says that their shapes differ."""
    if reference.shape != output.shape:
        raise ValueError(f"{name}: expected {tuple(reference.shape)}, got {tuple(output.shape)}")
    # In double: at 80 dB and more, sums of squares in float32 would measure their own rounding.
    a, b = (tensor.detach().double().flatten(1) for tensor in (reference, output))
    noise = (a - b).square().mean().clamp_min(1e-300)  # equal tensors get a finite, huge ratio
    return Comparison(
        name,
        float((a - b).abs().max()),
        float(10.0 * torch.log10(a.square().mean() / noise)),
        float(torch.nn.functional.cosine_similarity(a, b).min()),
        gate,
    )


def verify_exported(bundle: Bundle, networks: Mapping[str, ExportedNetwork]) -> list[Comparison]:
    """Return the comparison of every network of a bundle with the PyTorch module that it was made of.

    Args:
        bundle: the bundle as it will be used.
        networks: what was exported for each role, whose samples are the inputs.
    """
    rows = []
    for role, network in networks.items():
        with torch.no_grad():
            references = network.module(*network.samples)
            outputs = bundle.engine(role)(*network.samples)
        references = references if isinstance(references, tuple) else (references,)
        for tensor, reference, output in zip(network.spec.outputs, references, outputs, strict=True):
            name = role if len(outputs) == 1 else f"{role}: {tensor.name}"
            rows.append(compare(name, reference, output, GATES[network.precision]))
        if network.torch_module is not None:
            assert isinstance(bundle, DiffusionBundle)
            rows += _verify_torch_module(bundle, role, network, outputs[0])
    return rows


def worst_of(rows: Iterable[Comparison]) -> list[Comparison]:
    """Return for each network the output that is nearest to its gate, or below it."""
    worst: dict[str, Comparison] = {}
    for row in rows:
        role = row.name.partition(":")[0]
        lowest = worst.setdefault(role, row)
        # A failed row comes first, even where its ratio is above that of a row with a lower gate.
        if (row.passed, row.snr_db) < (lowest.passed, lowest.snr_db):
            worst[role] = row
    return list(worst.values())


def _verify_torch_module(
    bundle: DiffusionBundle, role: str, network: ExportedNetwork, output: Float[Tensor, "B ..."]
) -> list[Comparison]:
    engine = bundle.eager_engine(role)
    with torch.no_grad():
        value = engine(*network.samples)[0]
    cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
    # By the network before its weights were stored: this gate takes in what storing costs.
    expected = _input_gradient(network.module, network.samples[0], cotangent)
    gradient = _input_gradient(lambda x: engine(x)[0], network.samples[0], cotangent)
    return [
        compare(f"{role}: PyTorch against ONNX", output, value, GATES[Check.SAME_WEIGHTS]),
        compare(f"{role}: gradient by PyTorch", expected, gradient, GATES[Check.GRADIENT]),
    ]


def _input_gradient(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "B ..."], cotangent: Float[Tensor, "B ..."]
) -> Float[Tensor, "B ..."]:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x), x, cotangent)[0]


def format_table(rows: Iterable[Comparison]) -> str:
    """Return the comparisons as a Markdown table."""
    lines = ["| network | max error | SNR dB | cosine | gate | |", "|---|---|---|---|---|---|"]
    for row in rows:
        gate = f"{row.gate.snr_db:g} dB, {row.gate.cosine:g}"
        result = "passed" if row.passed else "FAILED"
        lines.append(f"| {row.name} | {row.max_error:.2e} | {row.snr_db:.1f} | {row.cosine:.7f} | {gate} | {result} |")
    return "\n".join(lines)
