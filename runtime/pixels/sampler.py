"""The cached sampler: pictures in any order at the cost of about one forward pass.

What is observed before the first hidden position goes through the prefill network, all positions in parallel; from
there on the step network computes one position after the other (`runtime.pixels.walk`). The order is arbitrary: under a
maximum-context order the prefill takes all that is observed; under another one, observed pixels between hidden ones
are walked like them, but kept.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from runtime.engines.bundle import LMConvBundle
from runtime.engines.protocols import BindableEngine
from runtime.errors import UserError
from runtime.pixels.draw import make_noise
from runtime.pixels.heads import Pixels, head_channels, to_unit
from runtime.pixels.neighbours import compact_rows
from runtime.pixels.orders import Order, Size, check_order
from runtime.pixels.regions import Region
from runtime.pixels.walk import Layout, Walk

Report = Callable[[int, int], None]

PREFILL = 1 << 14
"""Positions of all pictures together in one call of the prefill network: what its neighbours' buffers are held to."""

LEAST, PARTS = 8, 16
"""On a CPU, pictures are walked in parts of at least so many, and in at most so many parts, whatever the number of
threads that share them, so that a result does not depend on it. A step's matrices are too small for two threads to
share, and those of so many pictures large enough to keep one busy."""

TEMPERATURES = (0.01, 100.0)
"""Least and greatest temperature."""


class Sampler:
    """Draws pictures, or hidden parts of them, with two engines.

    Args:
        prefill: parameters and features of many positions.
        step: parameters and features of one position.
        pixels: channels, levels and mixtures of the pictures.

    Raises:
        UserError: where the networks do not fit each other or the pixels.
    """

    def __init__(self, prefill: BindableEngine, step: BindableEngine, pixels: Pixels) -> None:
        """Check that the parts fit."""
        self.prefill, self.step, self.pixels, self.layout = prefill, step, pixels, Layout.of(step.spec)
        if self.layout.widths[0] != pixels.channels + 1 or self.layout.parameters != head_channels(pixels):
            raise UserError(
                f"engine '{step.spec.name}': expected one for {pixels.channels} channels of {pixels.levels} levels, "
                f"got {self.layout.widths[0] - 1} channels and {self.layout.parameters} parameters a pixel"
            )

    @classmethod
    def of(cls, bundle: LMConvBundle) -> "Sampler":
        """Return the sampler of a bundle.

        Its step network runs on one thread: its matrices are too small to be worth waking another one, which has
        other pictures to walk (`PARTS`).
        """
        return cls(bundle.engine("prefill"), bundle.engine("step", threads=1), bundle.manifest)

    def sample(
        self,
        order: Order,
        size: Size,
        *,
        generator: torch.Generator,
        count: int = 1,
        temperature: float = 1.0,
        report: Report | None = None,
    ) -> Int64[Tensor, "{count} C H W"]:
        """Return whole pictures drawn from nothing; results, arguments and errors as of `complete`."""
        nothing = torch.zeros(count, self.pixels.channels, *size, dtype=torch.int64)
        hidden = np.ones(size, np.bool_)
        return self.complete(nothing, hidden, order, generator=generator, temperature=temperature, report=report)

    def complete(
        self,
        pictures: Tensor,
        hidden: Region,
        order: Order,
        *,
        generator: torch.Generator,
        samples: int = 1,
        temperature: float = 1.0,
        report: Report | None = None,
    ) -> Int64[Tensor, "_ C H W"]:
        """Return pictures (B samples, channels, H, W) int64 whose hidden pixels are drawn; samples of one together.

        Args:
            pictures: (B, channels, H, W) whole numbers in [0, levels); what is hidden may be anything there.
            hidden: (H, W) booleans.
            order: a permutation (H W,); see `maximum_context_order` for one that draws from all that is observed.
            generator: of all draws, on the CPU: the same seed and batch give the same pictures.
            samples: of each picture; what is observed is computed once for all of them.
            temperature: in `TEMPERATURES`; 1 draws from the model, less nearer to its mode.
            report: called with how much of the walk is done, and how much there is to do.

        Raises:
            UserError: where pictures, region or order do not fit, or a number is out of range.
        """
        size = (pictures.shape[2], pictures.shape[3])
        order, hidden = check_order(order, size), _check_hidden(hidden, size)
        if samples < 1 or len(pictures) < 1 or not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
            raise UserError(
                f"expected at least one picture and sample and a temperature of {TEMPERATURES[0]} to "
                f"{TEMPERATURES[1]}, got {len(pictures)}, {samples} and {temperature}"
            )
        levels = _as_rows(pictures, self.pixels, self.step.device)
        places = np.flatnonzero(hidden.reshape(-1)[order])
        first, last = int(places[0]), int(places[-1])
        known = torch.from_numpy(~hidden.reshape(-1))
        parts = levels.repeat_interleave(samples, 0).split(self._part(len(levels) * samples))
        walks = [Walk(self.step, self.pixels, order, size, part, known) for part in parts]
        self._observe(walks, levels, order[:first], size, order, samples)
        noise = make_noise((len(order), len(levels) * samples), self.pixels, generator, temperature)
        for walk, part in zip(walks, noise.split([len(part) for part in parts], 1), strict=True):
            walk.begin(first, part)
        _walk_all(walks, last + 1 - first, report)
        return _as_pictures(torch.cat([walk.levels for walk in walks]), size)

    def _part(self, count: int) -> int:
        """Return how many of `count` pictures are walked together."""
        return max(LEAST, math.ceil(count / PARTS)) if self.step.device.type == "cpu" else count

    def parameters(self, pictures: Tensor, order: Order, observed: int = 0) -> Float[Tensor, "B H W K"]:
        """Return the parameters (B, H, W, K) of every pixel of known pictures, as a walk computes them.

        Args:
            pictures: (B, channels, H, W) whole numbers in [0, levels).
            order: a permutation (H W,).
            observed: positions at the beginning of the order that the prefill network takes.
        """
        size = (pictures.shape[2], pictures.shape[3])
        order, levels = check_order(order, size), _as_rows(pictures, self.pixels, self.step.device)
        walk = Walk(self.step, self.pixels, order, size, levels, torch.ones(len(order), dtype=torch.bool))
        result = torch.zeros(len(levels), len(order), self.layout.parameters)
        if observed:
            result[:, order[:observed]] = self._observe([walk], levels, order[:observed], size, order, 1)
        walk.begin(observed)
        for pixel in order[observed:]:
            walk.advance()
            result[:, pixel] = walk.parameters.cpu()
        return result.unflatten(1, size)

    def _observe(
        self, walks: list[Walk], levels: Int64[Tensor, "B N C"], chosen: Order, size: Size, order: Order, samples: int
    ) -> Float[Tensor, "B n K"]:
        """Enter the features at the chosen pixels, the first of the order, into the caches; return parameters there.

        Each picture of `levels` stands in the walks, one after the other, `samples` times.
        """
        if not len(chosen):
            return torch.zeros(len(levels), 0, self.layout.parameters)
        device = self.step.device
        index = torch.from_numpy(chosen).to(device)
        taps = [torch.from_numpy(compact_rows(table, chosen)).to(device) for table in self.layout.tables(order, size)]
        parts = []
        for unit in to_unit(levels[:, index], self.pixels).split(max(1, PREFILL // len(chosen))):
            first = sum(len(part) for part in parts)
            parameters, *features = self.prefill(unit.contiguous(), *taps)
            parts.append(parameters)
            _fill_all(walks, index, features, first, samples)
        return torch.cat(parts).cpu()


def _fill_all(
    walks: list[Walk], pixels: Int64[Tensor, " N"], features: list[Float[Tensor, "B N _"]], first: int, samples: int
) -> None:
    """Enter the features of pictures from the `first` on into those of the walks that they stand in."""
    begin = 0
    for walk in walks:
        end = begin + len(walk.levels)
        rows = range(max(begin, first * samples), min(end, (first + len(features[0])) * samples))
        if rows:
            chosen = torch.tensor([row // samples - first for row in rows], device=pixels.device)
            walk.fill(pixels, [part[chosen] for part in features], rows.start - begin)
        begin = end


def _walk_all(walks: list[Walk], steps: int, report: Report | None) -> None:
    """Take every walk some steps further, as many walks at once as PyTorch uses threads."""

    def go(walk: Walk, told: Report | None) -> None:
        advance = walk.repeated()
        for done in range(steps):
            advance()
            if told is not None:
                told(done + 1, steps)

    threads = min(len(walks), torch.get_num_threads()) if walks[0].device.type == "cpu" else 1
    with ThreadPoolExecutor(max(1, threads - 1)) as pool:
        # every `threads`-th walk is this thread's own, and tells how far all are
        others = [pool.submit(go, walk, None) for i, walk in enumerate(walks) if threads > 1 and i % threads]
        own = [walk for i, walk in enumerate(walks) if threads == 1 or i % threads == 0]
        for number, walk in enumerate(own):
            go(walk, None if report is None else _shifted(report, number * steps, len(own) * steps))
        for other in others:
            other.result()


def _shifted(report: Report, before: int, total: int) -> Report:
    """Return a report of a part of the work, of which some was done before."""
    return lambda done, _: report(before + done, total)


def _as_rows(pictures: Tensor, pixels: Pixels, device: torch.device) -> Int64[Tensor, "B N C"]:
    """Return (B, channels, H, W) levels as (B, H W, channels), once they are known to be what a network models."""
    if pictures.ndim != 4 or pictures.shape[1] != pixels.channels or pictures.dtype != torch.int64:
        raise UserError(
            f"pictures: expected (B, {pixels.channels}, H, W) int64, got {tuple(pictures.shape)} {pictures.dtype}"
        )
    if pictures.numel() and not 0 <= int(pictures.min()) <= int(pictures.max()) < pixels.levels:
        raise UserError(
            f"pictures: expected whole numbers in [0, {pixels.levels}), got {int(pictures.min())} to "
            f"{int(pictures.max())}; quantize them to {pixels.levels} levels"
        )
    return pictures.flatten(2).transpose(1, 2).contiguous().to(device)


def _as_pictures(levels: Int64[Tensor, "B N C"], size: Size) -> Int64[Tensor, "B C H W"]:
    return levels.cpu().transpose(1, 2).unflatten(2, size).contiguous()


def _check_hidden(hidden: Region, size: Size) -> Region:
    if hidden.shape != tuple(size) or hidden.dtype != np.bool_ or not hidden.any():
        raise UserError(
            f"hidden region: expected booleans of shape {tuple(size)}, some of them true, got {hidden.dtype} of "
            f"{hidden.shape}"
        )
    return hidden
