"""Pictures that a field is fitted to, and the rays that a step takes of them."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from runtime.errors import UserError
from runtime.field.cameras import Cameras, Rays
from runtime.field.captures import Capture
from runtime.field.volume import Rendering

VIEWS_A_STEP = 16
"""Most pictures that one step takes rays of: neighbouring rays of few pictures stay in the cache."""

BUDGET = 2**30
"""Most bytes of pixels in memory: 1 GiB, 600 pictures of 640 x 640. More are read smaller."""


@dataclass(frozen=True)
class Batch:
    """Rays of a step and what they should show."""

    rays: Rays
    """Of pixel after pixel, each with as many."""
    colour: Float[Tensor, "P 3"]
    """Of the pixels, premultiplied with alpha: before a black background."""
    alpha: Float[Tensor, " P"]
    jitter: Float[Tensor, " R"]
    """Where each ray's first sample lies in its first step."""

    def pixels(self, shown: Rendering) -> Rendering:
        """Return what pixels show: the means of what their rays do."""
        count = len(self.alpha)
        return shown if len(self.jitter) == count else shown.means(count)

    def on(self, background: Float[Tensor, "#P 3"]) -> Float[Tensor, "P 3"]:
        """Return the colours before a background."""
        return self.colour + (1 - self.alpha[:, None]) * background


@dataclass(frozen=True)
class TrainingViews:
    """Pictures of one scene with their cameras."""

    cameras: Cameras
    pixels: UInt8[Tensor, "P 4"]
    """All pixels of all pictures, row by row, premultiplied with alpha."""
    valid: Bool[Tensor, " P"] | None
    """Pixels that count; None: all do."""
    has_alpha: bool
    """Whether pictures are transparent where the scene is not."""

    @classmethod
    def of(cls, capture: Capture, indices: list[int], budget: int = BUDGET) -> "TrainingViews":
        """Read some pictures of a capture one by one, smaller where all of them would need more than the budget."""
        # `fitted` counts four bytes a channel, as pictures have in memory; here they have one.
        part = capture.select(indices).fitted(budget * 4)
        # Once for all pictures: a list of them, put together at its end, would need twice the budget.
        total = int(part.cameras.sizes.prod(1).sum())
        pixels = torch.empty(total, 4, dtype=torch.uint8)
        valid = torch.empty(total, dtype=torch.bool) if part.masks else None
        first = 0
        for view, (height, width) in enumerate(part.cameras.sizes.tolist()):
            span = slice(first, first + height * width)
            rgba = part.rgba([view], (height, width))[0]
            # Premultiplied once here: colours of transparent pixels are arbitrary, and would bleed in mixtures.
            rgba[..., :3] *= rgba[..., 3:]
            pixels[span] = (rgba * 255).round().to(torch.uint8).view(-1, 4)
            if valid is not None:
                valid[span] = part.valid([view], (height, width)).view(-1)
            first += height * width
        if valid is not None and not valid.any():
            raise UserError(
                "masks: expected pixels that count, got masks that are black everywhere; white is what counts"
            )
        return cls(part.cameras, pixels, valid, capture.has_alpha)

    def __len__(self) -> int:
        return len(self.cameras)

    def digest(self) -> str:
        """Return the SHA-256 of cameras and pixels, in hexadecimal."""
        digest = hashlib.sha256()
        tensors = (self.cameras.poses, self.cameras.intrinsics, self.cameras.sizes, self.pixels, self.valid)
        for tensor in tensors:
            if tensor is not None:
                # The array itself: its bytes would be a copy, of a gigabyte where there are many pictures.
                digest.update(tensor.contiguous().numpy().reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    @property
    def firsts(self) -> Int64[Tensor, " V"]:
        """Where each picture's pixels begin."""
        counts = self.cameras.sizes.prod(1)
        return counts.cumsum(0) - counts

    @property
    def pixel_width(self) -> float:
        """Mean width of a pixel at the distance of the origin, world units."""
        return float((self.cameras.centres.norm(dim=1) / self.cameras.intrinsics[:, 0]).mean())

    def picture(self, view: int) -> Float[Tensor, "H W 4"]:
        """Return a picture, premultiplied with alpha."""
        height, width = self.cameras.sizes[view].tolist()
        first = int(self.firsts[view])
        return self.pixels[first : first + height * width].view(height, width, 4).float() / 255

    def _any_counted(
        self, generator: torch.Generator
    ) -> tuple[Int64[Tensor, " 1"], Int64[Tensor, "1 2"], Int64[Tensor, " 1"]]:
        """Return a random pixel that counts: its picture, its row and column, and its place among all pixels."""
        assert self.valid is not None, "without masks all pixels count"
        counted = self.valid.nonzero()[:, 0]
        index = counted[torch.randint(len(counted), (1,), generator=generator)]
        owner = torch.searchsorted(self.firsts, index, right=True) - 1
        within, width = index - self.firsts[owner], self.cameras.sizes[owner, 1]
        return owner, torch.stack([within // width, within % width], 1), index

    def draw(self, count: int, generator: torch.Generator, *, pairs: bool = False) -> Batch:
        """Return about `count` rays: every n-th pixel in both directions, from random pixels on, of up to 16 pictures.

        Each ray goes through a random place of its pixel, as the pixel's colour is the mean over it. The order is that
        of the pictures: rays side by side share what they read of the field.

        Args:
            count: of rays.
            generator: of all draws.
            pairs: take two rays of each pixel, half a pixel apart in both directions, and half as many pixels. A field
                whose single rays are fitted to the means of pixels is blurred; the mean of two is fitted better.
        """
        # A regular lattice of pixels, not single random ones: neighbouring rays read the same nodes.
        views = torch.arange(len(self))
        if len(self) > VIEWS_A_STEP:
            views = torch.randperm(len(self), generator=generator)[:VIEWS_A_STEP].sort().values
        sizes = self.cameras.sizes[views]
        # As many rays as asked for from all chosen pictures together, whatever their sizes.
        stride = max(1, round(math.sqrt(int(sizes.prod(1).sum()) * (2 if pairs else 1) / count)))
        top, left = torch.randint(stride, (2,), generator=generator).tolist()
        owners, places = [], []
        for view, (height, width) in zip(views.tolist(), sizes.tolist(), strict=True):
            # A picture that is smaller than the stride still gives its last row.
            rows = torch.arange(min(top, height - 1), height, stride)
            columns = torch.arange(min(left, width - 1), width, stride)
            place = torch.cartesian_prod(rows, columns)
            places.append(place)
            owners.append(torch.full((len(place),), view))
        owner, place = torch.cat(owners), torch.cat(places)
        index = self.firsts[owner] + place[:, 0] * self.cameras.sizes[owner, 1] + place[:, 1]
        if self.valid is not None:
            counted = self.valid[index]
            owner, place, index = owner[counted], place[counted], index[counted]
            if not len(index):
                # Where masks leave little, a lattice may miss all of it, and a mean over no rays is NaN.
                owner, place, index = self._any_counted(generator)
        offsets = torch.rand(len(index), 2, generator=generator)
        if pairs:
            # One behind the other, so that they share what they read.
            offsets = torch.stack([offsets, (offsets + 0.5) % 1], 1).flatten(0, 1)
            owner, place = owner.repeat_interleave(2), place.repeat_interleave(2, dim=0)
        rays = self.cameras.rays_of(owner, place.flip(1) + offsets)
        rgba = self.pixels[index].float() / 255
        jitter = torch.rand(len(owner), generator=generator)
        return Batch(rays, rgba[:, :3], rgba[:, 3], jitter)
