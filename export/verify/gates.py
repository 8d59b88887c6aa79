"""Does a bundle compute what PyTorch computes in float32: error, signal to noise and cosine, each with its gate."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from export.cut import Cut
from runtime.engines.bundle import Bundle, DiffusionBundle


@dataclass(frozen=True)
class Gate:
    """What a comparison has to reach."""

    snr_db: float
    """Least signal-to-noise ratio, dB."""
    cosine: float
    """Least cosine of any example."""


GATES = {
    "float32": Gate(80.0, 0.999999),
    "float16": Gate(50.0, 0.99999),
    "int8": Gate(28.0, 0.999),
    "fp16": Gate(35.0, 0.999),
    "bf16": Gate(25.0, 0.995),
    "tf32": Gate(45.0, 0.9999),
    "gradient": Gate(25.0, 0.998),
    "twin": Gate(80.0, 0.999999),
    "twin_gradient": Gate(70.0, 0.9999),
    "scene": Gate(20.0, 0.995),
}
"""Gates by the way that weights are stored (float32, float16, int8) or products are computed (fp16, bf16, tf32); of
input gradients; of two backends with the same stored weights, and their gradients; of the gradient of a whole scene, in
which guidance multiplies the denoiser's errors by tens."""


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
        return self.snr_db >= self.gate.snr_db and self.cosine >= self.gate.cosine


def compare(name: str, reference: Tensor, output: Tensor, gate: Gate) -> Comparison:
    """Return how far an output, (B, ...), is from its reference of the same shape."""
    if reference.shape != output.shape:
        raise ValueError(f"{name}: expected {tuple(reference.shape)}, got {tuple(output.shape)}")
    a, b = (tensor.detach().double().flatten(1) for tensor in (reference, output))
    noise = (a - b).square().mean().clamp_min(1e-300)
    return Comparison(
        name,
        float((a - b).abs().max()),
        float(10.0 * torch.log10(a.square().mean() / noise)),
        float(torch.nn.functional.cosine_similarity(a, b).min()),
        gate,
    )


def verify_cuts(bundle: Bundle, cuts: Mapping[str, Cut]) -> list[Comparison]:
    """Return the comparison of every network of a bundle with the PyTorch module that it was cut from.

    Args:
        bundle: the bundle as it will be used.
        cuts: the cut of each role, whose samples are the inputs.
    """
    rows = []
    for role, cut in cuts.items():
        with torch.no_grad():
            references = cut.module(*cut.samples)
            outputs = bundle.engine(role)(*cut.samples)
        references = references if isinstance(references, tuple) else (references,)
        for given, reference, output in zip(cut.spec.outputs, references, outputs, strict=True):
            name = role if len(outputs) == 1 else f"{role}: {given.name}"
            rows.append(compare(name, reference, output, GATES[cut.scheme]))
        if cut.twin is not None:
            assert isinstance(bundle, DiffusionBundle)
            rows += _verify_twin(bundle, role, cut, outputs[0])
    return rows


def worst_of(rows: Iterable[Comparison]) -> list[Comparison]:
    """Return of each network that has several outputs the one nearest to its gate, or below it."""
    worst: dict[str, Comparison] = {}
    for row in rows:
        role = row.name.partition(":")[0]
        known = worst.setdefault(role, row)
        if (row.passed, row.snr_db) < (known.passed, known.snr_db):
            worst[role] = row
    return list(worst.values())


def _verify_twin(bundle: DiffusionBundle, role: str, cut: Cut, output: Tensor) -> list[Comparison]:
    engine = bundle.eager_engine(role)
    with torch.no_grad():
        value = engine(*cut.samples)[0]
    cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
    expected = _input_gradient(cut.module, cut.samples[0], cotangent)
    gradient = _input_gradient(lambda x: engine(x)[0], cut.samples[0], cotangent)
    return [
        compare(f"{role}: PyTorch twin against ONNX", output, value, GATES["twin"]),
        compare(f"{role}: gradient of the twin", expected, gradient, GATES["gradient"]),
    ]


def _input_gradient(function: Callable[[Tensor], Tensor], x: Tensor, cotangent: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x), x, cotangent)[0]


def format_table(rows: Iterable[Comparison]) -> str:
    """Return the comparisons as a Markdown table."""
    lines = ["| network | max error | SNR dB | cosine | gate | |", "|---|---|---|---|---|---|"]
    for row in rows:
        gate = f"{row.gate.snr_db:g} dB, {row.gate.cosine:g}"
        verdict = "passed" if row.passed else "FAILED"
        lines.append(f"| {row.name} | {row.max_error:.2e} | {row.snr_db:.1f} | {row.cosine:.7f} | {gate} | {verdict} |")
    return "\n".join(lines)
