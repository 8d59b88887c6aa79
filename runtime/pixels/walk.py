"""Walk a picture one position at a time with the step network of a bundle, its features cached.

Everything outside the masked gather is a function of single positions and nothing is downsampled, so that the features
of a position depend only on earlier ones and need computing once. Caches have a row for each position and hold what
each stage reads; a step gathers the neighbours' rows, computes one position through all stages and writes one row.

All tensors have fixed shapes and the place in the order is a tensor: on CUDA, with a step engine that only enqueues
work, one advance is captured as a graph and replayed.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from runtime.engines.backends.eager import EagerEngine
from runtime.engines.protocols import BindableEngine
from runtime.engines.spec import EngineSpec
from runtime.errors import UserError
from runtime.pixels.draw import draw_pixel, make_noise
from runtime.pixels.heads import Pixels, to_unit
from runtime.pixels.neighbours import neighbour_rows
from runtime.pixels.orders import Order, Size

_TAPS = re.compile(r"taps_([1-9][0-9]{0,3})")


@dataclass(frozen=True)
class Layout:
    """The stages of a step network, as its spec describes them."""

    kernel: int
    """Side of the kernels."""
    dilations: tuple[int, ...]
    """Dilation of each table of taps."""
    widths: tuple[int, ...]
    """Input channels of each stage; those of the first are the picture's and one of ones."""
    parameters: int
    """Numbers that describe one pixel's distribution."""

    @classmethod
    def of(cls, spec: EngineSpec) -> "Layout":
        """Return the layout of a step network.

        Raises:
            UserError: where the spec is not that of a step network.
        """
        taps = [t for t in spec.inputs if _TAPS.fullmatch(t.name)]
        caches = spec.inputs[len(taps) :]
        widths = tuple(t.shape[-1] if t.shape else "" for t in caches)
        count = taps[0].shape[0] if taps and taps[0].shape else 0
        kernel = math.isqrt(count + 1) if isinstance(count, int) else 0
        fits = (
            kernel % 2 == 1
            and all(isinstance(width, int) for width in (*widths, *spec.outputs[0].shape[-1:]))
            and len(caches) > 1
            and all(t.shape == (kernel * kernel - 1,) for t in taps)
            and all(t.shape == ("B", "R", width) for t, width in zip(caches, widths, strict=True))
            and [t.shape for t in spec.outputs[1:]] == [("B", width) for width in widths[1:]]
        )
        if not fits:
            raise UserError(f"engine '{spec.name}' is no step network of an LMConv bundle; export the bundle again")
        dilations = tuple(int(t.name.removeprefix("taps_")) for t in taps)
        return cls(kernel, dilations, tuple(int(w) for w in widths), int(spec.outputs[0].shape[-1]))

    def tables(self, order: Order, size: Size) -> list[np.ndarray]:
        """Return for each dilation the rows (H W, T) of each pixel's neighbours under an order."""
        return [neighbour_rows(order, size, self.kernel, dilation) for dilation in self.dilations]


class Rows:
    """Features of each stage in few contiguous tensors, one for all stages of the same width.

    One copy then writes the rows of many stages, which matters where a step takes a millisecond.

    Attributes:
        of: for each stage its own (B, ...) part, contiguous.
    """

    def __init__(self, widths: Sequence[int], shape: tuple[int, ...], device: torch.device) -> None:
        """Make zeros of `shape`, which begins with the batch, with each stage's width as the last dimension."""
        self.groups: dict[int, Tensor] = {}
        for width in sorted(set(widths)):
            self.groups[width] = torch.zeros(widths.count(width), *shape, width, device=device)
        counts = dict.fromkeys(self.groups, 0)
        self.of: list[Tensor] = []
        for width in widths:
            self.of.append(self.groups[width][counts[width]])
            counts[width] += 1


class Walk:
    """B pictures on their way along one order.

    Attributes:
        levels: (B, H W, channels) int64, the pictures so far.
        parameters: (B, K) of the last position.
        caches: what each stage reads; row 1 + p belongs to pixel p.
        noise: (H W, B, n) of all draws.
    """

    def __init__(
        self,
        step: BindableEngine,
        pixels: Pixels,
        order: Order,
        size: Size,
        levels: Int64[Tensor, "B N C"],
        observed: Bool[Tensor, " N"],
    ) -> None:
        """Make the caches and bind the network to them.

        Args:
            step: the step network.
            pixels: channels, levels and mixtures of its pictures.
            order: a permutation of the pixels.
            size: height and width.
            levels: whole numbers in [0, levels); what is not observed may be anything in range.
            observed: pixels that are taken from `levels` instead of drawn.
        """
        self.layout = Layout.of(step.spec)
        self.pixels = pixels
        # Pixels are drawn in place, and the caller's pictures stay as they are.
        self.levels = levels.clone()
        self.device = levels.device
        batch, count = len(levels), len(order)
        self.caches = Rows(self.layout.widths, (batch, count + 1), self.device)
        self._computed = Rows(self.layout.widths[1:], (batch,), self.device)
        self.parameters = torch.zeros(batch, self.layout.parameters, device=self.device)
        self._order = torch.from_numpy(order).to(self.device)
        self._observed = observed.to(self.device)[self._order]
        self._tables = [torch.from_numpy(t[order]).to(self.device) for t in self.layout.tables(order, size)]
        # The network is bound to these tensors, and a graph to their addresses: they are refilled and never replaced.
        self._taps = [torch.zeros_like(table[0]) for table in self._tables]
        self._capturable = self.device.type == "cuda" and isinstance(step, EagerEngine)  # others wait for the GPU
        self._run = step.bind((*self._taps, *self.caches.of), (self.parameters, *self._computed.of))
        self._place = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.noise = make_noise((count, batch), pixels, None).to(self.device)
        self._replay: Callable[[], None] | None = None

    def begin(self, place: int, noise: Float32[Tensor, "N B n"] | None = None) -> None:
        """Set the position to be walked next.

        Args:
            place: in [0, H W).
            noise: of `make_noise`, for all draws of the walk; without it, zeros, which suit a walk over observed
                pixels.
        """
        self._place.fill_(place)
        if noise is None:
            self.noise.zero_()
        else:
            self.noise.copy_(noise)

    def fill(self, pixels: Int64[Tensor, " N"], features: Sequence[Float[Tensor, "n N _"]], first: int = 0) -> None:
        """Enter the features of each stage at N pixels into the caches of n pictures, from the `first` on."""
        for cache, part in zip(self.caches.of, features, strict=True):
            cache[first : first + len(part), pixels + 1] = part

    @torch.no_grad()
    def advance(self) -> None:
        """Compute the next position, draw its pixel unless it is observed, and enter it into the caches."""
        pixel = self._order[self._place]
        for taps, table in zip(self._taps, self._tables, strict=True):
            taps.copy_(table[self._place][0])
        self._run()
        drawn = draw_pixel(self.parameters, self.noise[self._place][0], self.pixels)
        given = self.levels.index_select(1, pixel)
        # Observed pixels between hidden ones are walked too: both values are computed, for the shapes to be fixed.
        value = torch.where(self._observed[self._place], given, drawn[:, None])
        self.levels.index_copy_(1, pixel, value)
        self._enter(pixel + 1, to_unit(value, self.pixels))
        self._place += 1

    def _enter(self, row: Int64[Tensor, " 1"], unit: Float[Tensor, "B 1 C"]) -> None:
        """Write a row of every cache: the first stage's is the pixel itself, and one."""
        self.caches.of[0].index_copy_(1, row, torch.cat((unit, torch.ones_like(unit[..., :1])), -1))
        for width, computed in self._computed.groups.items():
            # The first of its width has no output where it is the picture itself: outputs belong to the last ones.
            stages = self.caches.groups[width]
            stages[len(stages) - len(computed) :].index_copy_(2, row, computed[:, :, None])

    def pending_rows(self, place: int, end: int) -> Int64[Tensor, " R"]:
        """Return the rows of the caches that the positions from `place` to `end` read, ascending, on the CPU."""
        rows = [table[place:end].reshape(-1) for table in self._tables]
        return torch.cat(rows).unique().cpu()

    def repeated(self) -> Callable[[], None]:
        """Return what advances by one position: on CUDA a captured graph where the step network allows it.

        A graph is captured on the first call only: that takes as long as some dozens of positions.
        """
        if self._replay is None:
            self._replay = _captured(self) if self._capturable else self.advance
        return self._replay


def _captured(walk: Walk) -> Callable[[], None]:
    """Return the replay of one captured advance; the place, and with it the walk, is as before.

    Source: the position as a tensor makes every replay the next step (torch.cuda.CUDAGraph).
    """
    place, levels = walk._place.clone(), walk.levels.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):  # libraries allocate on their first calls, which a capture forbids
            walk._place.copy_(place)
            walk.advance()
    torch.cuda.current_stream().wait_stream(stream)
    walk._place.copy_(place)
    # The row that the trials wrote into the caches needs no undoing: the first replay writes it again.
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        walk.advance()
    walk._place.copy_(place)
    walk.levels.copy_(levels)
    return graph.replay
