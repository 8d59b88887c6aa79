"""Pictures drawn along one order, in parts that threads walk side by side; they can be stopped and resumed anywhere.

A walk that is advanced by blocks, or saved by `state` and restored, draws the same bits as one that is not interrupted:
all noise is drawn before the first position, and what a position computes depends on the caches and its own noise only.
"""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from runtime.engines.protocols import BindableEngine
from runtime.errors import UserError
from runtime.pixels.draw import make_noise
from runtime.pixels.heads import Pixels
from runtime.pixels.orders import Order, Size, check_order
from runtime.pixels.regions import Region
from runtime.pixels.walk import Walk
from runtime.threads import thread_count

Report = Callable[[int, int], None]

MIN_PART, MAX_PARTS = 8, 16
"""On a CPU, pictures are walked in parts of at least so many, and in at most so many parts, whatever the number of
threads that share them, so that a result does not depend on it. A step's matrices are too small for two threads to
share, and those of so many pictures large enough to keep one busy."""


@dataclass(frozen=True)
class Route:
    """The positions of an order that are walked.

    Attributes:
        order: a permutation of the pixels.
        size: height and width of the pictures.
        observed: for each pixel, whether it is taken from the picture instead of drawn.
        first: the first position that is walked; those before it are observed.
        end: one more than the last position that is walked; those from there on are observed.
    """

    order: Order
    size: Size
    observed: Bool[Tensor, " N"]
    first: int
    end: int

    @classmethod
    def of(cls, order: Order, hidden: Region) -> "Route":
        """Return the route from the first to the last hidden pixel of an order."""
        # Observed pixels before the first hidden one need no step: the prefill network has entered them.
        places = np.flatnonzero(hidden.reshape(-1)[order])
        size = (hidden.shape[0], hidden.shape[1])
        return cls(order, size, torch.from_numpy(~hidden.reshape(-1)), int(places[0]), int(places[-1]) + 1)


class Walks:
    """B pictures on one route, `total` positions long.

    Attributes:
        parts: the walks, each of some of the pictures.
        done: positions that were walked.
        total: positions to walk.
    """

    def __init__(self, step: BindableEngine, pixels: Pixels, route: Route, levels: Int64[Tensor, "B N C"]) -> None:
        """Make the caches of all parts.

        Args:
            step: the step network.
            pixels: channels, levels and mixtures of its pictures.
            route: what is walked.
            levels: whole numbers in [0, levels); what is not observed may be anything in range.
        """
        self._route = route
        self._sizes = [len(part) for part in levels.split(_part_size(len(levels), levels.device))]
        self.parts = [
            Walk(step, pixels, route.order, route.size, part, route.observed) for part in levels.split(self._sizes)
        ]
        self.done = 0
        self.total = route.end - route.first

    @property
    def levels(self) -> Int64[Tensor, "B C H W"]:
        """The pictures so far, on the CPU; a hidden pixel that is still to be drawn is what `Sampler.begin` was given.

        Hidden pixels are drawn in the sequence of the order.
        """
        # Parts are runs of neighbours, so joining them restores the order of the batch.
        levels = torch.cat([walk.levels for walk in self.parts])
        return levels.cpu().transpose(1, 2).unflatten(2, self._route.size).contiguous()

    def start(self, noise: Float32[Tensor, "N B n"], done: int = 0) -> None:
        """Set the noise of all draws, and how many positions were walked before."""
        # Noise is that of all positions, a resumed walk's too: position i draws with row i wherever it begins.
        self.done = done
        for walk, part in zip(self.parts, noise.split(self._sizes, 1), strict=True):
            walk.begin(self._route.first + done, part)

    def advance(self, count: int | None = None, report: Report | None = None) -> None:
        """Walk further, as many parts at once as PyTorch uses threads.

        Args:
            count: positions, at most as many as are left; None walks to the end.
            report: called by this thread with how much of the work of this call is done, and how much there is. If it
                raises, the parts are not equally far any more, and the walks are of no further use.
        """
        steps = self.total - self.done if count is None else min(count, self.total - self.done)
        if steps <= 0:
            return
        _walk_all(self.parts, steps, report)
        self.done += steps

    def state(self) -> dict[str, Tensor]:
        """Return all that `Sampler.restore` needs to walk on to the same bits, as tensors on the CPU.

        Of the caches, only the rows that later positions read are kept: a few lines of the picture under a raster
        order.
        """
        route, place = self._route, self._route.first + self.done
        rows = self.parts[0].pending_rows(place, route.end)
        state = {
            "order": torch.from_numpy(route.order),
            "size": torch.tensor(route.size),
            "observed": route.observed,
            "span": torch.tensor([route.first, place, route.end]),
            "levels": torch.cat([walk.levels for walk in self.parts]).cpu(),
            "noise": torch.cat([walk.noise[place : route.end] for walk in self.parts], 1).cpu(),
            "rows": rows,
        }
        for width in self.parts[0].caches.groups:
            chosen = [walk.caches.groups[width][:, :, rows.to(walk.device)] for walk in self.parts]
            state[f"features_{width}"] = torch.cat(chosen, 1).cpu()
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], step: BindableEngine, pixels: Pixels) -> "Walks":
        """Return the walks of a `state`, ready to be advanced.

        Raises:
            UserError: where the state is not one of these networks and pixels.
        """
        route = _route_of(state)
        _, place, end = state["span"].tolist()
        levels = state["levels"]
        if levels.dtype != torch.int64 or levels.shape[1:] != (len(route.order), pixels.channels) or not len(levels):
            raise _damaged("levels")
        if not 0 <= int(levels.min()) <= int(levels.max()) < pixels.levels:
            raise _damaged("levels")
        walks = cls(step, pixels, route, levels.to(step.device))
        # A state has no noise of the positions that are behind: nobody draws with it again.
        noise = make_noise((len(route.order), len(levels)), pixels, None)
        noise[place:end] = _checked(state, "noise", noise[place:end])
        walks._enter(state, place, end)
        walks.start(noise, place - route.first)
        return walks

    def _enter(self, state: Mapping[str, Tensor], place: int, end: int) -> None:
        """Enter the rows of a state into the caches."""
        rows = _checked(state, "rows", self.parts[0].pending_rows(place, end))
        # Rows depend on the order and the place alone: a state with others was edited, or is of another network.
        if not torch.equal(rows, self.parts[0].pending_rows(place, end)):
            raise _damaged("rows")
        for width, group in self.parts[0].caches.groups.items():
            like = torch.empty(len(group), sum(self._sizes), len(rows), width)
            features = _checked(state, f"features_{width}", like).split(self._sizes, 1)
            for walk, part in zip(self.parts, features, strict=True):
                walk.caches.groups[width][:, :, rows.to(walk.device)] = part.to(walk.device)


def fill_caches(
    walks: list[Walk], pixels: Int64[Tensor, " N"], features: list[Float[Tensor, "B N _"]], first: int, samples: int
) -> None:
    """Enter the features of pictures into those of the walks that they stand in.

    Args:
        walks: parts of a batch in which each picture stands `samples` times, one after the other.
        pixels: where the features are.
        features: of each stage.
        first: number of the first of these pictures.
        samples: of each picture.
    """
    begin = 0
    for walk in walks:
        # Copies of a picture stand side by side and may be spread over two parts.
        end = begin + len(walk.levels)
        rows = range(max(begin, first * samples), min(end, (first + len(features[0])) * samples))
        if rows:
            chosen = torch.tensor([row // samples - first for row in rows], device=pixels.device)
            walk.fill(pixels, [part[chosen] for part in features], rows.start - begin)
        begin = end


def _part_size(count: int, device: torch.device) -> int:
    """Return how many of `count` pictures are walked together."""
    return max(MIN_PART, math.ceil(count / MAX_PARTS)) if device.type == "cpu" else count


def _walk_all(walks: list[Walk], steps: int, report: Report | None) -> None:
    """Take every walk some steps further, as many walks at once as there are threads."""

    def run(walk: Walk, report: Report | None) -> None:
        advance = walk.repeated()
        for done in range(steps):
            advance()
            if report is not None:
                report(done + 1, steps)

    threads = min(len(walks), thread_count()) if walks[0].device.type == "cpu" else 1
    # Leaving the pool waits for its threads, even where a report raises: nothing writes into the walks afterwards.
    with ThreadPoolExecutor(max(1, threads - 1)) as pool:
        # Every `threads`-th walk is this thread's own. It reports for all: a report may raise, or draw a bar, which
        # other threads must not do.
        others = [pool.submit(run, walk, None) for i, walk in enumerate(walks) if threads > 1 and i % threads]
        own = [walk for i, walk in enumerate(walks) if threads == 1 or i % threads == 0]
        for number, walk in enumerate(own):
            run(walk, None if report is None else _shifted(report, number * steps, len(own) * steps))
        for other in others:
            # Raises here what was raised in a thread.
            other.result()


def _shifted(report: Report, before: int, total: int) -> Report:
    """Return a report of a part of the work, of which some was done before."""
    return lambda done, _: report(before + done, total)


def _route_of(state: Mapping[str, Tensor]) -> Route:
    """Return the route of a state, once its parts fit each other."""
    for name in ("order", "size", "observed", "span", "levels", "noise", "rows"):
        if name not in state:
            raise _damaged(name)
    height, width = _whole_numbers(state, "size", 2)
    order = check_order(state["order"].numpy(), (height, width))
    observed = state["observed"]
    if observed.dtype != torch.bool or observed.shape != (len(order),):
        raise _damaged("observed")
    first, place, end = _whole_numbers(state, "span", 3)
    if not 0 <= first <= place <= end <= len(order):
        raise _damaged("span")
    return Route(order, (height, width), observed, first, end)


def _whole_numbers(state: Mapping[str, Tensor], name: str, count: int) -> list[int]:
    value = state[name]
    if value.dtype != torch.int64 or value.shape != (count,):
        raise _damaged(name)
    return value.tolist()


def _checked(state: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    """Return a tensor of a state, once it has the type and shape of another one."""
    value = state.get(name)
    if value is None or value.dtype != like.dtype or value.shape != like.shape:
        raise _damaged(name)
    return value


def _damaged(name: str) -> UserError:
    return UserError(
        f"checkpoint: '{name}' does not fit the bundle, or is missing; start again, or give the bundle it was made with"
    )
