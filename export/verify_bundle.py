"""Every network of a bundle, on everything that can run it here, beside its reference: the rows of `verify`'s table."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from export.verify import GATES, Comparison, Gate, compare
from export.verify_inputs import Reference, batches_of, batches_with, take_rows
from export.verify_providers import Provider, gradient_of, providers
from runtime.engines.bundle import BundleFolder
from runtime.engines.verdicts import Verdict

ROUNDS = 5
"""Calls whose median is the time of a network."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network on one provider."""

    comparison: Comparison
    """Its figures, the worst over all batches and outputs, and the gate."""
    verdict: Verdict
    """The same for the cache."""
    batches: tuple[int, ...] = ()
    """Rows of the batches that were compared."""
    remark: str = ""
    """What the reader has to know: a batch that was cut, an engine that failed."""


def verify_role(
    bundle: BundleFolder,
    role: str,
    reference: Reference,
    backends: Sequence[str],
    device: str,
    report: Callable[[str], None],
) -> Iterator[Row]:
    """Yield a row for each provider of a network.

    Args:
        bundle: the bundle, loaded for the device.
        role: what the network is for.
        reference: what it is compared with.
        backends: those that are asked for.
        device: `cpu` or `cuda`.
        report: told of what this machine has not.
    """
    batches, remark = batches_of(reference)
    known: dict[tuple[str, int], list[Tensor]] = {}
    for provider in providers(bundle, role, backends, device, report):
        if provider.kind == "gradient" and reference.module is None:
            report(f"{role}: {provider.name}: nothing to compare it with; name the weights with --weights")
            continue
        gate = _gate(provider, reference)
        comparison, trouble = _compare_batches(role, provider, reference, batches, gate, known)
        verdict = Verdict(
            role=role,
            provider=provider.kind,
            backend=provider.backend,
            device=provider.device.partition(":")[0],
            precision=provider.precision or reference.precision,
            passed=comparison.passed,
            max_error=comparison.max_error,
            snr_db=comparison.snr_db,
            cosine=comparison.cosine,
            milliseconds=math.nan if trouble else _time(provider, reference, batches),
        )
        yield Row(comparison=comparison, verdict=verdict, batches=batches, remark=trouble or remark)


def _gate(provider: Provider, reference: Reference) -> Gate:
    """Return the gate of a provider; one that casts products has that of its type where it is the lower one."""
    if provider.kind == "gradient":
        return reference.gradient_gate if not provider.precision else GATES["gradient"]
    cast = GATES.get(provider.precision, reference.gate)
    return min(reference.gate, cast, key=lambda gate: gate.snr_db)


def _compare_batches(
    role: str,
    provider: Provider,
    reference: Reference,
    batches: Iterable[int],
    gate: Gate,
    known: dict[tuple[str, int], list[Tensor]],
) -> tuple[Comparison, str]:
    """Return the worst figures over batches and outputs, and what went wrong where an engine raised."""
    name, parts = f"{role}: {provider.name}", []
    for count in batches:
        if (provider.kind, count) not in known:
            known[provider.kind, count] = _expected(provider.kind, reference, count)
        expected = known[provider.kind, count]
        try:
            outputs = _together(_computed(provider, reference, inputs) for inputs in _batches(reference, count))
        except Exception as error:  # whatever a backend raises is its verdict
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            return Comparison(name, math.nan, math.nan, math.nan, gate), f"failed at {count} rows: {reason}"
        parts += [compare(name, want, got.float(), gate) for want, got in zip(expected, outputs, strict=True)]
    return worst(name, parts, gate), ""


def _batches(reference: Reference, count: int) -> list[tuple[Tensor, ...]]:
    return batches_with(reference.spec, reference.samples, count)


def _together(batches: Iterable[Sequence[Tensor]]) -> list[Tensor]:
    """Return each output of all batches, joined."""
    return [torch.cat(list(parts)) for parts in zip(*batches, strict=True)]


def _expected(kind: str, reference: Reference, count: int) -> list[Tensor]:
    """Return what a provider has to give: outputs, or, for a gradient, output and vector-Jacobian product."""
    batches = _batches(reference, count)
    if kind == "value":
        return [part.float() for part in _together(reference.value(*inputs) for inputs in batches)]
    assert reference.module is not None
    gradient = gradient_of(reference.module)
    return [part.float() for part in _together(gradient(x[0], _cotangent(reference, x)) for x in batches)]


def _cotangent(reference: Reference, inputs: Sequence[Tensor]) -> Tensor:
    """Return what comes back into the first output, standard normal, the same for equal batches."""
    shape = reference.spec.outputs[0].bound({"B": len(inputs[0])})
    return torch.randn(tuple(map(int, shape)), generator=torch.Generator().manual_seed(0))


def _computed(provider: Provider, reference: Reference, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return what a provider gives on its device, as tensors of the CPU."""
    placed = [tensor.to(provider.device) for tensor in inputs]
    if provider.value is not None:
        with torch.no_grad():
            outputs = provider.value(*placed)
    else:
        assert provider.gradient is not None
        outputs = provider.gradient(placed[0], _cotangent(reference, inputs).to(provider.device))
    return [output.cpu() for output in outputs]


def worst(name: str, parts: Sequence[Comparison], gate: Gate) -> Comparison:
    """Return the worst of each figure; one that is not a number makes the worst none."""
    return Comparison(
        name,
        _greatest([part.max_error for part in parts]),
        -_greatest([-part.snr_db for part in parts]),
        -_greatest([-part.cosine for part in parts]),
        gate,
    )


def _greatest(values: Sequence[float]) -> float:
    return math.nan if any(math.isnan(value) for value in values) else max(values)


def _time(provider: Provider, reference: Reference, batches: Sequence[int]) -> float:
    """Return the median milliseconds of a call at the typical batch."""
    typical = reference.spec.ranges["B"][1] if "B" in reference.spec.ranges else batches[0]
    rows = take_rows(reference.spec, reference.samples, typical)
    inputs = [tensor.to(provider.device) for tensor in rows]
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        _computed(provider, reference, inputs)
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


def format_rows(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = "| network and what runs it | batches | max error | SNR dB | cosine | gate | ms | |"
    lines = [head, "|---" * 8 + "|"]
    for row in rows:
        c, v = row.comparison, row.verdict
        cells = [
            c.name,
            ", ".join(map(str, row.batches)),
            f"{c.max_error:.2e}",
            f"{c.snr_db:.1f}",
            f"{c.cosine:.7f}",
            f"{c.gate.snr_db:g} dB, {c.gate.cosine:g}",
            "" if math.isnan(v.milliseconds) else f"{v.milliseconds:.2f}",
            ("passed" if c.passed else "FAILED") + (f" ({row.remark})" if row.remark else ""),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verify_networks(
    bundle: BundleFolder,
    references: Mapping[str, Reference],
    backends: Sequence[str],
    device: str,
    report: Callable[[str], None],
) -> Iterator[Row]:
    """Yield the rows of all networks, one network in memory at a time; arguments as of `verify_role`."""
    for role in references:
        report(f"verifying {role} on {device}")
        yield from verify_role(bundle, role, references[role], backends, device, report)
