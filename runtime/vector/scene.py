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


class VectorScene(Scene):
    """A drawing whose named tensors are parameters.

    Args:
        drawing: the start; its tensors are copied.
        train: which of points, colours, widths, background require gradients; the others stay as they are.
        backend: the rasterizer's backend, see `runtime.vector.raster.rasterize`.
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
        for name, tensor in drawing.tensors.items():
            parameter = nn.Parameter(tensor.detach().clone(), requires_grad=name in train)
            self.register_parameter(name, parameter)

    def drawing(self) -> Drawing:
        """The drawing, its tensors the parameters themselves: gradients flow through it."""
        return Drawing(self.layout, *(getattr(self, name) for name in _NAMES), size=self.size)

    def render(self, size: tuple[int, int] | None = None) -> Float[Tensor, "B 3 H W"]:
        """(B, 3, H, W) RGB in [0, 1] of all scenes, at the canvas size or the size given; differentiable."""
        return rasterize(self.drawing(), size, backend=self.backend)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring colours and background back into [0, 1], and widths to at least `MIN_WIDTH`."""
        self.colours.clamp_(0, 1)
        self.background.clamp_(0, 1)
        self.widths.clamp_(min=MIN_WIDTH)

    def state(self) -> dict[str, Tensor]:
        """Everything needed to build the scene again, as tensors."""
        contours = self.layout.contours
        state = {name: getattr(self, name).detach() for name in _NAMES}
        state["kinds"] = torch.tensor([int(kind) for kind in self.layout.kinds], dtype=torch.int64)
        state["contour_counts"] = torch.tensor([len(path) for path in contours], dtype=torch.int64)
        state["contour_segments"] = torch.tensor([n for path in contours for n in path], dtype=torch.int64)
        state["size"] = torch.tensor(self.size, dtype=torch.int64)
        state["train"] = torch.tensor([getattr(self, name).requires_grad for name in _NAMES], dtype=torch.int64)
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], *, backend: str = "numba") -> "VectorScene":
        """The scene that `state` came from, bit for bit.

        Errors: `UserError` naming a tensor that is missing.
        """
        missing = {*_NAMES, "kinds", "contour_counts", "contour_segments", "size", "train"} - set(state)
        if missing:
            raise UserError(f"scene state: missing {', '.join(sorted(missing))}; not written by VectorScene.state")
        segments = iter(state["contour_segments"].tolist())
        contours = tuple(tuple(next(segments) for _ in range(count)) for count in state["contour_counts"].tolist())
        layout = Layout(tuple(Kind(kind) for kind in state["kinds"].tolist()), contours)
        height, width = state["size"].tolist()
        drawing = Drawing(layout, *(state[name] for name in _NAMES), size=(height, width))
        train = [name for name, flag in zip(_NAMES, state["train"].tolist(), strict=True) if flag]
        return cls(drawing, train=train, backend=backend)
