"""Fields by networks: NeRF's, Dream Fields', and a signed distance as a density."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from runtime.field.fields.encodings import integrated, masked, positional

WIDTH = 256
LAYERS = 8
SKIP = 4
"""Layer behind which the encoded points are joined again."""

DIRECTION_FREQUENCIES = 4

TRUNCATED = 0.87962566103423978
"""Deviation of a standard normal number that lies within [-2, 2]."""


class RadianceMLP(nn.Module):
    """NeRF's network (arXiv:2003.08934, appendix A): 8 layers of 256 with a skip; colours may depend on the direction.

    Args:
        frequencies: of the positions' encoding; 10 for NeRF, 2^5 or 2^3 at most (6 or 4) for Simplified NeRF.
        view_directions: whether colours depend on the direction: 595,844 parameters in place of 494,084.
    """

    def __init__(self, frequencies: int = 10, *, view_directions: bool = True) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.view_directions = view_directions
        encoded = 3 * (1 + 2 * frequencies)
        # The layer behind the skip is wider, as it takes the encoded points once more.
        inputs = [encoded] + [WIDTH + (encoded if layer == SKIP else 0) for layer in range(LAYERS - 1)]
        self.layers = nn.ModuleList(nn.Linear(width, WIDTH) for width in inputs)
        if view_directions:
            self.density = nn.Linear(WIDTH, 1)
            self.feature = nn.Linear(WIDTH, WIDTH)
            self.view = nn.Linear(WIDTH + 3 * (1 + 2 * DIRECTION_FREQUENCIES), WIDTH // 2)
            self.colour = nn.Linear(WIDTH // 2, 3)
        else:
            self.both = nn.Linear(WIDTH, 4)

    def forward(
        self, points: Float[Tensor, "S 3"], directions: Float[Tensor, "S 3"], share: float = 1.0
    ) -> tuple[Float[Tensor, " S"], Float[Tensor, "S 3"]]:
        """Return density and colour.

        Args:
            points: positions, about [-1, 1].
            directions: unit vectors of view.
            share: of the frequencies in view, see `encodings.masked`.
        """
        encoded = masked(positional(points, self.frequencies), 3, self.frequencies, share)
        hidden = encoded
        for index, layer in enumerate(self.layers):
            hidden = functional.relu(layer(hidden))
            if index == SKIP:
                hidden = torch.cat([encoded, hidden], -1)
        if not self.view_directions:
            both = self.both(hidden)
            return functional.relu(both[:, 3]), both[:, :3].sigmoid()
        # The density knows no direction, so that shapes cannot change with the view.
        view = torch.cat([self.feature(hidden), positional(directions, DIRECTION_FREQUENCIES)], -1)
        return functional.relu(self.density(hidden)[:, 0]), self.colour(functional.relu(self.view(view))).sigmoid()


class _Block(nn.Module):
    """A residual block of two layers behind a normalization."""

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, wide)
        self.narrow = nn.Linear(wide, width)

    def forward(self, x: Float[Tensor, "S W"]) -> Float[Tensor, "S W"]:
        return x + self.narrow(functional.silu(self.wide(self.norm(x))))


class _OnWaves(nn.Module):
    """A network on the waves of a basis of frequencies; subclasses bring `decode`."""

    basis: Tensor

    def __init__(self, basis: Float[Tensor, "F 3"]) -> None:
        super().__init__()
        self.register_buffer("basis", basis)

    def draw_weights(self, generator: torch.Generator | None) -> None:
        """Draw all weights from LeCun's normal distribution and set biases to 0, Flax's default (thesis 10.3)."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                # Flax cuts the tails off and widens what is left, so that the variance is 1 / inputs again.
                deviation = layer.in_features**-0.5 / TRUNCATED
                ends = {"a": -2 * deviation, "b": 2 * deviation}
                nn.init.trunc_normal_(layer.weight, std=deviation, generator=generator, **ends)
                nn.init.zeros_(layer.bias)

    def decode(self, encoded: Float[Tensor, "S G"]) -> tuple[Float[Tensor, " S"], Float[Tensor, "S 3"]]:
        """Return the raw density and the colour of encoded places."""
        raise NotImplementedError

    def forward(
        self, mean: Float[Tensor, "S 3"], covariance: Float[Tensor, "S 3 3"]
    ) -> tuple[Float[Tensor, " S"], Float[Tensor, "S 3"]]:
        """Return the raw density, whose softplus is the density, and the colour of Gaussians."""
        return self.decode(integrated(mean, covariance, self.basis))


class ResidualMLP(_OnWaves):
    """Dream Fields' network (thesis 4.4.7): residual blocks on an integrated random Fourier basis, no directions.

    315,396 parameters with the published code's widths and 131 frequencies; the thesis says 280K.

    Args:
        basis: frequencies, see `encodings.fourier_basis`.
        width: of the blocks' ends.
        wide: within a block.
        blocks: how many.
        generator: of the weights; by default PyTorch's own.
    """

    def __init__(
        self,
        basis: Float[Tensor, "F 3"],
        width: int = 128,
        wide: int = 256,
        blocks: int = 4,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(basis)
        self.first = nn.Linear(2 * len(basis), width)
        self.blocks = nn.ModuleList(_Block(width, wide) for _ in range(blocks))
        self.late = nn.Linear(width, width)
        self.last = nn.Linear(width, 4)
        self.draw_weights(generator)

    def decode(self, encoded: Float[Tensor, "S G"]) -> tuple[Float[Tensor, " S"], Float[Tensor, "S 3"]]:
        """Return the raw density and the colour of encoded places."""
        x = functional.silu(self.first(encoded))
        for block in self.blocks:
            x = block(x)
        out = self.last(functional.silu(self.late(x)))
        return out[:, 0], out[:, 1:].sigmoid()


class PlainMLP(_OnWaves):
    """NeRF's network of 8 layers with a skip and ReLU, on waves: what Dream Fields' table begins with (thesis 4.4.7).

    Args:
        basis: frequencies, such as `encodings.axis_basis`.
        width: of each layer.
        generator: of the weights; by default PyTorch's own.
    """

    def __init__(
        self, basis: Float[Tensor, "F 3"], width: int = WIDTH, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(basis)
        encoded = 2 * len(basis)
        inputs = [encoded] + [width + (encoded if layer == SKIP else 0) for layer in range(LAYERS - 1)]
        self.layers = nn.ModuleList(nn.Linear(count, width) for count in inputs)
        self.both = nn.Linear(width, 4)
        self.draw_weights(generator)

    def decode(self, encoded: Float[Tensor, "S G"]) -> tuple[Float[Tensor, " S"], Float[Tensor, "S 3"]]:
        """Return the raw density and the colour of encoded places."""
        hidden = encoded
        for index, layer in enumerate(self.layers):
            hidden = functional.relu(layer(hidden))
            if index == SKIP:
                hidden = torch.cat([encoded, hidden], -1)
        both = self.both(hidden)
        return both[:, 0], both[:, 1:].sigmoid()


def laplace_density(
    distance: Float[Tensor, "*S"], beta: "Float[Tensor, ''] | float", alpha: "Float[Tensor, ''] | float | None" = None
) -> Float[Tensor, "*S"]:
    """Return the density of a signed distance: alpha times the Laplace distribution of -distance (VolSDF; thesis 10.5).

    Args:
        distance: to the surface, negative inside.
        beta: width of the surface, over 0.
        alpha: density deep inside; by default 1 / beta.
    """
    # As beta falls in training, the surface sharpens and the inside becomes opaque together.
    scale = 1 / beta if alpha is None else alpha
    # Each branch is clamped to its own side: `where` differentiates both, and an infinite exponential that is not taken
    # would still make the gradient NaN.
    outside = 0.5 * torch.exp(-distance.clamp(min=0) / beta)
    inside = 1 - 0.5 * torch.exp(distance.clamp(max=0) / beta)
    return scale * torch.where(distance > 0, outside, inside)


def eikonal(gradient: Float[Tensor, "S 3"]) -> Float[Tensor, ""]:
    """Return the mean squared deviation of a distance's gradient from length 1 (arXiv:2002.10099)."""
    return (gradient.norm(dim=1) - 1).square().mean()
