"""A drawing as parameters: what optimization trains, renders, clamps, and saves."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from runtime.errors import UserError
from runtime.loop.scene import Scene
from runtime.vector.paths import Drawing, Kind, Layout
from runtime.vector.raster import rasterize

MIN_WIDTH = 0.1
"""Smallest stroke width after `clamp_`, in canvas pixels: thinner strokes vanish and stop learning."""

_NAMES = ("points", "colours", "widths", "background")
_LISTS = ("history", "finished")
_STRUCTURE = ("kinds", "contour_counts", "contour_segments", "size", "train")


class VectorScene(Scene):
    """A drawing whose tensors are parameters.

    Args:
        drawing: the start; its tensors are copied.
        train: which of points, colours, widths, background require gradients; the others stay as they are.
        backend: the rasterizer's backend, see `runtime.vector.raster.rasterize`.

    Raises:
        UserError: where `train` names something else.
    """

    points: nn.Parameter
    colours: nn.Parameter
    widths: nn.Parameter
    background: nn.Parameter

    def __init__(
        self,
        drawing: Drawing,
        *,
        train: Sequence[str] = ("points", "colours", "background"),
        backend: str = "numba",
    ):
        super().__init__()
        unknown = set(train) - set(_NAMES)
        if unknown:
            raise UserError(f"scene: expected names out of {_NAMES} to train, got {sorted(unknown)}")
        self.layout = drawing.layout
        self.size = (int(drawing.size[0]), int(drawing.size[1]))
        self.backend = backend
        self.history: list[Drawing] = []
        """Drawings on the way, for a film."""
        self.finished: list[Drawing] = []
        """Drawings that are done, of a run of several."""
        self.target: Tensor | None = None
        """Picture (3, H, W) that the drawing is being fitted to, where one is made on the way."""
        for name, tensor in drawing.tensors.items():
            # All four are parameters, trained or not, so that a state has the same tensors for every method.
            parameter = nn.Parameter(tensor.detach().clone(), requires_grad=name in train)
            self.register_parameter(name, parameter)

    def drawing(self) -> Drawing:
        """Return the drawing; its tensors are the parameters themselves, so that gradients flow through it."""
        return Drawing(self.layout, *(getattr(self, name) for name in _NAMES), size=self.size)

    def render(self, size: tuple[int, int] | None = None) -> Float[Tensor, "B 3 H W"]:
        """Return pictures of all scenes, RGB in [0, 1], differentiably.

        Args:
            size: height and width in pixels; by default the canvas'.
        """
        return rasterize(self.drawing(), size, backend=self.backend)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring colours and background back into [0, 1], and widths to at least `MIN_WIDTH`."""
        self.colours.clamp_(0, 1)
        self.background.clamp_(0, 1)
        self.widths.clamp_(min=MIN_WIDTH)

    def record(self) -> None:
        """Keep a copy of the drawing as it is now, as a picture of the way."""
        self.history.append(self.drawing().clone())

    def state(self) -> dict[str, Tensor]:
        """Return everything needed to build the scene again, as tensors by name; its lists of drawings, too."""
        contours = self.layout.contours
        state = {name: getattr(self, name).detach() for name in _NAMES}
        # A checkpoint is a safetensors file, which holds tensors and nothing else.
        state["kinds"] = torch.tensor([int(kind) for kind in self.layout.kinds], dtype=torch.int64)
        state["contour_counts"] = torch.tensor([len(path) for path in contours], dtype=torch.int64)
        state["contour_segments"] = torch.tensor([n for path in contours for n in path], dtype=torch.int64)
        state["size"] = torch.tensor(self.size, dtype=torch.int64)
        state["train"] = torch.tensor([getattr(self, name).requires_grad for name in _NAMES], dtype=torch.int64)
        if self.target is not None:
            state["target"] = self.target
        for name in _LISTS:
            for index, drawing in enumerate(getattr(self, name)):
                # Five digits, so that the order of the names is the order of the drawings.
                state |= {f"{name}/{index:05d}/{k}": v for k, v in VectorScene(drawing).state().items()}
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], *, backend: str = "numba") -> "VectorScene":
        """Return the scene whose `state` this is, bit for bit.

        Raises:
            UserError: where a tensor is missing, or has a shape, type or value that no scene has.
        """
        missing = {*_NAMES, *_STRUCTURE} - set(state)
        if missing:
            raise UserError(f"scene state: missing {', '.join(sorted(missing))}; not written by VectorScene.state")
        kinds, counts, segments, size, train = (_whole_numbers(state, name) for name in _STRUCTURE)
        if len(size) != 2 or len(train) != len(_NAMES):
            raise UserError(
                f"scene state: expected a size of 2 numbers and {len(_NAMES)} flags, got {size} and {train}"
            )
        unknown = {name.partition("/")[0] for name in state if "/" in name} - set(_LISTS)
        if unknown:
            raise UserError(f"scene state: expected lists out of {_LISTS}, got {sorted(unknown)}")
        # Checked before the contours are dealt out: `next` must not run out among them.
        if min(counts, default=0) < 0 or sum(counts) != len(segments):
            raise UserError(f"scene state: expected {sum(counts)} contours, got {len(segments)}")
        if not set(kinds) <= set(Kind):
            raise UserError(f"scene state: expected kinds in 0 to {max(Kind)}, got {sorted(set(kinds) - set(Kind))}")
        remaining = iter(segments)
        contours = tuple(tuple(next(remaining) for _ in range(count)) for count in counts)
        layout = Layout(tuple(Kind(kind) for kind in kinds), contours)
        drawing = Drawing(layout, *(state[name] for name in _NAMES), size=(size[0], size[1]))
        scene = cls(drawing, train=[name for name, flag in zip(_NAMES, train, strict=True) if flag], backend=backend)
        scene.target = state.get("target")
        if scene.target is not None and scene.target.shape != (3, *scene.size):
            raise UserError(f"scene state: expected a target of 3 x {size}, got {tuple(scene.target.shape)}")
        # Lists are one level deep: drawings in them are still, and have no lists of their own.
        for prefix in sorted({name.rpartition("/")[0] for name in state if "/" in name}):
            part = {name.rpartition("/")[2]: value for name, value in state.items() if name.startswith(f"{prefix}/")}
            getattr(scene, prefix.partition("/")[0]).append(cls.from_state(part).drawing().detach())
        return scene


def _whole_numbers(state: Mapping[str, Tensor], name: str) -> list[int]:
    value = state[name]
    if value.ndim != 1 or value.dtype != torch.int64:
        raise UserError(f"scene state: expected int64 numbers in a row as {name}, got {value.dtype} {value.shape}")
    return value.tolist()
