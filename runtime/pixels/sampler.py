"""The cached sampler: pictures in any order at the cost of about one forward pass.

What is observed before the first hidden position goes through the prefill network, all positions in parallel; from
there on the step network computes one position after the other (`runtime.pixels.walk`). The order is arbitrary: under a
maximum-context order the prefill takes all that is observed; under another one, observed pixels between hidden ones
are walked like them, but not drawn.
"""

from collections.abc import Mapping

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
from runtime.pixels.walks import Report, Route, Walks, fill_caches

PREFILL = 1 << 14
"""Most positions, of all pictures together, in one call of the prefill network; it bounds the memory of a call."""

TEMPERATURES = (0.01, 100.0)
"""Smallest and largest temperature."""


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
        self.prefill = prefill
        self.step = step
        self.pixels = pixels
        self.layout = Layout.of(step.spec)
        if self.layout.widths[0] != pixels.channels + 1 or self.layout.parameters != head_channels(pixels):
            raise UserError(
                f"engine '{step.spec.name}': expected one for {pixels.channels} channels of {pixels.levels} levels, "
                f"got {self.layout.widths[0] - 1} channels and {self.layout.parameters} parameters a pixel"
            )

    @classmethod
    def of(cls, bundle: LMConvBundle) -> "Sampler":
        """Return the sampler of a bundle.

        Its step network runs on one thread: its matrices are too small to be worth waking another one, which has
        other pictures to walk (`runtime.pixels.walks`).
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
        # Any value in range: masks keep what is hidden from being read before it is drawn.
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
        """Return pictures whose hidden pixels are drawn; the samples of one picture follow each other.

        Args:
            pictures: (B, channels, H, W) whole numbers in [0, levels); what is hidden may be anything there.
            hidden: true where a pixel is to be drawn.
            order: a permutation of the pixels; `maximum_context_order` makes one that draws from all that is observed.
            generator: of all draws, on the CPU: the same seed and batch give the same pictures.
            samples: of each picture; what is observed is computed once for all of them.
            temperature: in `TEMPERATURES`; 1 draws from the model, less nearer to its mode.
            report: called with how much of the walk is done, and how much there is to do.

        Raises:
            UserError: where pictures, region or order do not fit, or a number is out of range.
        """
        walks = self.begin(pictures, hidden, order, generator=generator, samples=samples, temperature=temperature)
        walks.advance(report=report)
        return walks.levels

    def begin(
        self,
        pictures: Tensor,
        hidden: Region,
        order: Order,
        *,
        generator: torch.Generator,
        samples: int = 1,
        temperature: float = 1.0,
    ) -> Walks:
        """Return the walks of `complete` before their first hidden pixel; arguments and errors as there.

        What is observed before that pixel is computed here, and all noise is drawn here. `Walks.advance` does the rest.
        """
        size = (pictures.shape[2], pictures.shape[3])
        order = check_order(order, size)
        # Checked before the caches are made: these may take gigabytes.
        route = Route.of(order, _check_hidden(hidden, size))
        if samples < 1 or len(pictures) < 1 or not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
            raise UserError(
                f"expected at least one picture and sample and a temperature of {TEMPERATURES[0]} to "
                f"{TEMPERATURES[1]}, got {len(pictures)}, {samples} and {temperature}"
            )
        levels = _as_rows(pictures, self.pixels, self.step.device)
        walks = Walks(self.step, self.pixels, route, levels.repeat_interleave(samples, 0))
        # One pass for each picture: its samples differ from the first hidden pixel on only.
        self._observe(walks.parts, levels, order[: route.first], size, order, samples)
        walks.start(make_noise((len(order), len(levels) * samples), self.pixels, generator, temperature))
        return walks

    def restore(self, state: Mapping[str, Tensor]) -> Walks:
        """Return the walks whose `state` this is: advanced, they draw the bits that they would have drawn.

        Raises:
            UserError: where the state is not one of this bundle's walks.
        """
        return Walks.from_state(state, self.step, self.pixels)

    def parameters(self, pictures: Tensor, order: Order, observed: int = 0) -> Float[Tensor, "B H W K"]:
        """Return the parameters of every pixel of observed pictures, as a walk computes them.

        Args:
            pictures: (B, channels, H, W) whole numbers in [0, levels).
            order: a permutation of the pixels.
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
        # The prefill network sees the chosen pixels only, so its tables count these alone.
        taps = [torch.from_numpy(compact_rows(table, chosen)).to(device) for table in self.layout.tables(order, size)]
        parts = []
        for unit in to_unit(levels[:, index], self.pixels).split(max(1, PREFILL // len(chosen))):
            first = sum(len(part) for part in parts)
            # In parts of a fixed size, whatever the batch: the memory of a call has a bound.
            parameters, *features = self.prefill(unit.contiguous(), *taps)
            parts.append(parameters)
            fill_caches(walks, index, features, first, samples)
        return torch.cat(parts).cpu()


def _as_rows(pictures: Tensor, pixels: Pixels, device: torch.device) -> Int64[Tensor, "B N C"]:
    """Return pictures as one row a pixel, checked to be what the network models."""
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


def _check_hidden(hidden: Region, size: Size) -> Region:
    if hidden.shape != tuple(size) or hidden.dtype != np.bool_ or not hidden.any():
        raise UserError(
            f"hidden region: expected booleans of shape {tuple(size)}, some of them true, got {hidden.dtype} of "
            f"{hidden.shape}"
        )
    return hidden
