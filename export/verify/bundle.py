"""Every network of a bundle, on everything that can run it here, beside its reference: the rows of `verify`'s table."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from export.verify.gates import GATES, Check, Comparison, Gate, compare
from export.verify.inputs import Reference, batches_of, count_rows, is_batched, sizes_of, take_rows
from export.verify.providers import Provider, gradient_of, providers
from runtime.engines.backends.results import VerificationResult
from runtime.engines.bundle import Bundle
from runtime.engines.precision import Compute

ROUNDS = 5
"""Calls whose median is the time of a network."""

PATIENCE = 5000.0
"""Milliseconds after which a network's time is known well enough with fewer."""

SILENCE = 20.0
"""Seconds after which long work says how far it is."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network on one provider."""

    comparison: Comparison
    """Its figures, the worst over all batches and outputs, and the gate."""
    result: VerificationResult
    """The same for the cache."""
    batches: tuple[int, ...] = ()
    """Rows of the batches that were compared."""
    remark: str = ""
    """What the reader has to know: a batch that was cut, an engine that failed."""


def verify_role(
    bundle: Bundle,
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
        report: called with what this machine has not, and how far long work is.
    """
    batches = batches_of(reference)
    sizes, remark = sizes_of(reference)
    expected = Expected(reference, partial(report_slowly, report, f"{role}: reference"))
    for provider in providers(bundle, role, backends, device, report):
        if provider.kind == "gradient" and reference.module is None:
            report(f"{role}: {provider.name}: nothing to compare it with; name the weights with --weights")
            continue
        comparison, trouble, times = _compare_batches(role, provider, expected, batches, report)
        result = VerificationResult(
            role=role,
            provider=provider.kind,
            backend=provider.backend,
            device=provider.device.partition(":")[0],
            precision=reference.precision if provider.compute is Compute.MODEL else provider.compute,
            passed=comparison.passed,
            max_error=comparison.max_error,
            snr_db=comparison.snr_db,
            cosine=comparison.cosine,
            milliseconds=math.nan if trouble else _time(provider, expected, sizes, times),
        )
        yield Row(comparison=comparison, result=result, batches=sizes, remark=trouble or remark)


def report_slowly(report: Callable[[str], None], name: str, parts: Sequence[T]) -> Iterator[T]:
    """Yield parts of work, and report how much is left of it at most every `SILENCE` seconds."""
    started = reported = time.monotonic()
    for done, part in enumerate(parts):
        now = time.monotonic()
        if done and now - reported > SILENCE:
            left = (now - started) / done * (len(parts) - done)
            report(f"{name}: {done} of {len(parts)} batches, {left:.0f} s left")
            reported = now
        yield part


def _gate(provider: Provider, reference: Reference) -> Gate:
    """Return the gate of a provider; one that casts products has that of its type where it is the lower one."""
    cast = provider.compute is not Compute.MODEL
    if provider.kind == "gradient":
        return GATES[Check.GRADIENT] if cast else reference.gradient_gate
    gates = [reference.gate, GATES[provider.compute]] if cast else [reference.gate]
    return min(gates, key=lambda gate: gate.snr_db)


class Expected:
    """What providers of a network have to give for each of its rows, computed once.

    Args:
        reference: what they are compared with.
        progress: passes the parts of the work on, and may say how far it is.
    """

    def __init__(self, reference: Reference, progress: Callable[[Sequence[Tensor]], Iterable[Tensor]]) -> None:
        self.reference, self.progress = reference, progress
        self.count = count_rows(reference.spec, reference.samples)
        self._cache: dict[str, list[Tensor]] = {}

    def inputs(self, rows: Int[Tensor, " rows"]) -> tuple[Tensor, ...]:
        """Return the inputs of rows."""
        return take_rows(self.reference.spec, self.reference.samples, rows)

    def cotangent(self, rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows ..."]:
        """Return what comes back into the first output at rows, standard normal."""
        shape = self.reference.spec.outputs[0].bound({"B": self.count})
        # Drawn for all rows, then chosen: a row has the same cotangent in every batch.
        return torch.randn(tuple(map(int, shape)), generator=torch.Generator().manual_seed(0))[rows]

    def outputs(self, kind: str, rows: Int[Tensor, " rows"]) -> list[Tensor]:
        """Return the outputs of rows, or, for kind `gradient`, the first one and the vector-Jacobian product."""
        # Computed at the typical batch and cut by row: the reference, the slowest of all, runs once a row.
        if kind not in self._cache:
            self._cache[kind] = self._compute(kind)
        outputs = self.reference.spec.outputs
        batched = [True, True] if kind == "gradient" else [is_batched(output.shape) for output in outputs]
        return [part[rows] if b else part for part, b in zip(self._cache[kind], batched, strict=True)]

    def _compute(self, kind: str) -> list[Tensor]:
        chunk = self.reference.spec.ranges["B"][1] if "B" in self.reference.spec.ranges else 1
        chunks = [
            self._value(rows) if kind == "value" else self._gradient(rows)
            for rows in self.progress(torch.arange(self.count).split(chunk))
        ]
        return [(torch.cat(list(p)) if len(chunks) > 1 else p[0]).float() for p in zip(*chunks, strict=True)]

    def _value(self, rows: Tensor) -> Sequence[Tensor]:
        return self.reference.value(*self.inputs(rows))

    def _gradient(self, rows: Tensor) -> Sequence[Tensor]:
        assert self.reference.module is not None
        return gradient_of(self.reference.module)(self.inputs(rows)[0], self.cotangent(rows))


def _compare_batches(
    role: str, provider: Provider, expected: Expected, batches: Sequence[Tensor], report: Callable[[str], None]
) -> tuple[Comparison, str, list[tuple[int, float]]]:
    """Return the worst figures over sizes and outputs, what went wrong where an engine raised, and sizes and times."""
    name, gate = f"{role}: {provider.name}", _gate(provider, expected.reference)
    pairs: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
    times: list[tuple[int, float]] = []
    expected.outputs(provider.kind, batches[0])  # before the clock of progress starts
    for rows in report_slowly(report, name, batches):
        started = time.perf_counter()
        try:
            outputs = _computed(provider, expected, rows)
        except Exception as error:  # whatever a backend raises is recorded as its failure
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            return Comparison(name, math.nan, math.nan, math.nan, gate), f"failed at {len(rows)} rows: {reason}", times
        # The outputs are on the CPU by now, so that a GPU's work is finished and counted.
        times.append((len(rows), 1e3 * (time.perf_counter() - started)))
        for index, pair in enumerate(zip(expected.outputs(provider.kind, rows), outputs, strict=True)):
            pairs.setdefault((len(rows), index), []).append(pair)
    parts = []
    for batch in pairs.values():
        # Together, not batch by batch: a ratio over few rows depends on which rows they are.
        reference, output = (torch.cat(side).float() for side in zip(*batch, strict=True))
        parts.append(compare(name, reference, output, gate))
    return worst(name, parts, gate), "", times


def _computed(provider: Provider, expected: Expected, rows: Tensor) -> Sequence[Tensor]:
    """Return what a provider gives on its device, as tensors of the CPU."""
    placed = [tensor.to(provider.device) for tensor in expected.inputs(rows)]
    if provider.value is not None:
        with torch.no_grad():
            outputs = provider.value(*placed)
    else:
        assert provider.gradient is not None
        outputs = provider.gradient(placed[0], expected.cotangent(rows).to(provider.device))
    return [output.cpu() for output in outputs]


def worst(name: str, parts: Sequence[Comparison], gate: Gate) -> Comparison:
    """Return the worst of each figure; NaN if any is NaN."""
    return Comparison(
        name,
        _greatest([part.max_error for part in parts]),
        -_greatest([-part.snr_db for part in parts]),
        -_greatest([-part.cosine for part in parts]),
        gate,
    )


def _greatest(values: Sequence[float]) -> float:
    # max drops NaN or keeps it by the order of its arguments; a failure must not hide.
    return math.nan if any(math.isnan(value) for value in values) else max(values)


def _time(provider: Provider, expected: Expected, sizes: Sequence[int], measured: Sequence[tuple[int, float]]) -> float:
    """Return the median milliseconds of a call at the typical batch.

    The calls that were compared count; as long as they are few and short, more are made and the first is left out.
    """
    spec = expected.reference.spec
    typical = spec.ranges["B"][1] if "B" in spec.ranges else sizes[0]
    times = [ms for size, ms in measured if size == typical]
    while len(times) <= ROUNDS and sum(times) < PATIENCE:
        started = time.perf_counter()
        _computed(provider, expected, torch.arange(typical) % expected.count)
        times.append(1e3 * (time.perf_counter() - started))
    # The first call compiles kernels and allocates memory.
    return statistics.median(times[1:] or times)


def format_rows(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = "| network and what runs it | batches | max error | SNR dB | cosine | gate | ms | |"
    lines = [head, "|---" * 8 + "|"]
    for row in rows:
        c, v = row.comparison, row.result
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
    bundle: Bundle,
    references: Mapping[str, Reference],
    backends: Sequence[str],
    device: str,
    report: Callable[[str], None],
) -> Iterator[Row]:
    """Yield the rows of all networks, one network in memory at a time; arguments as of `verify_role`."""
    for role in references:
        report(f"verifying {role} on {device}")
        yield from verify_role(bundle, role, references[role], backends, device, report)
