"""The cached sampler: pictures in any order at the cost of about one forward pass.

What is observed before the first hidden position goes through the prefill network, all positions in parallel; from
there on the step network computes one position after the other (`runtime.pixels.walk`). The order is arbitrary: under a
maximum-context order the prefill takes all that is observed; under another one, observed pixels between hidden ones
are walked like them, but kept.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from runtime.engines.bundle import PixelBundle
from runtime.engines.protocols import BindableEngine
from runtime.errors import UserError
from runtime.pixels.heads import Pixels, head_channels, to_unit
from runtime.pixels.neighbours import compact_rows
from runtime.pixels.orders import Order, Size, check_order
from runtime.pixels.regions import Region
from runtime.pixels.walk import Layout, Walk

Report = Callable[[int, int], None]

PREFILL = 1 << 14
"""Positions of all pictures together in one call of the prefill network: what its neighbours' buffers are held to."""

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
    def of(cls, bundle: PixelBundle) -> "Sampler":
        """Return the sampler of a bundle.

        Its step network runs on one thread: its matrices are too small to be worth waking another one.
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
    ) -> Tensor:
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
    ) -> Tensor:
        """Return pictures (B samples, channels, H, W) int64 whose hidden pixels are drawn; samples of one together.

        Args:
            pictures: (B, channels, H, W) whole numbers in [0, levels); what is hidden may be anything there.
            hidden: (H, W) booleans.
            order: a permutation (H W,); see `maximum_context_order` for one that draws from all that is observed.
            generator: of all draws, on the CPU: the same seed and batch give the same pictures.
            samples: of each picture; what is observed is computed once for all of them.
            temperature: in `TEMPERATURES`; 1 draws from the model, less nearer to its mode.
            report: called with the number of walked positions and of all that have to be walked.

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
        walk = Walk(self.step, self.pixels, order, size, levels.repeat_interleave(samples, 0), known)
        self._observe(walk, levels, order[:first], size, order, samples)
        walk.begin(first, generator, temperature)
        advance = walk.repeated()
        for done in range(first, last + 1):
            advance()
            if report is not None:
                report(done - first + 1, last + 1 - first)
        return _as_pictures(walk.levels, size)

    def parameters(self, pictures: Tensor, order: Order, observed: int = 0) -> Tensor:
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
            result[:, order[:observed]] = self._observe(walk, levels, order[:observed], size, order, 1)
        walk.begin(observed)
        for pixel in order[observed:]:
            walk.advance()
            result[:, pixel] = walk.parameters.cpu()
        return result.unflatten(1, size)

    def _observe(self, walk: Walk, levels: Tensor, chosen: Order, size: Size, order: Order, samples: int) -> Tensor:
        """Enter the features at the chosen pixels, the first of the order, into the caches; return parameters there.

        Each picture of `levels` stands in the walk `samples` times.
        """
        if not len(chosen):
            return torch.zeros(len(levels), 0, self.layout.parameters)
        device = self.step.device
        index = torch.from_numpy(chosen).to(device)
        taps = [torch.from_numpy(compact_rows(table, chosen)).to(device) for table in self.layout.tables(order, size)]
        parts = []
        for unit in to_unit(levels[:, index], self.pixels).split(max(1, PREFILL // len(chosen))):
            first = samples * sum(len(part) for part in parts)
            parameters, *features = self.prefill(unit.contiguous(), *taps)
            parts.append(parameters)
            walk.fill(index, [part.repeat_interleave(samples, 0) for part in features], first)
        return torch.cat(parts).cpu()


def _as_rows(pictures: Tensor, pixels: Pixels, device: torch.device) -> Tensor:
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


def _as_pictures(levels: Tensor, size: Size) -> Tensor:
    return levels.cpu().transpose(1, 2).unflatten(2, size).contiguous()


def _check_hidden(hidden: Region, size: Size) -> Region:
    if hidden.shape != tuple(size) or hidden.dtype != np.bool_ or not hidden.any():
        raise UserError(
            f"hidden region: expected booleans of shape {tuple(size)}, some of them true, got {hidden.dtype} of "
            f"{hidden.shape}"
        )
    return hidden
