"""Terms by opacity: against fog, and for rays that end or pass."""

from jaxtyping import Bool, Float
from torch import Tensor


def opacity_penalty(alpha: Float[Tensor, " R"]) -> Float[Tensor, ""]:
    """Return the mean of sqrt(alpha^2 + 0.01), which keeps fields from filling space (arXiv:2209.14988, A.2)."""
    return (alpha.square() + 0.01).sqrt().mean()


def alpha_entropy(alpha: Float[Tensor, " R"]) -> Float[Tensor, ""]:
    """Return the mean entropy of alpha, in bits: 0 where rays end or pass, 1 where half of the light does.

    stable-dreamfusion has it in place of `opacity_penalty`, with which fields were seen to vanish.
    """
    # As there: the logarithm's slope is endless at both ends, where nothing should move any more.
    inner = alpha.clamp(1e-5, 1 - 1e-5)
    return -(inner * inner.log2() + (1 - inner) * (1 - inner).log2()).mean()


def misplaced(
    transmittance: Float[Tensor, " R"], inside: Bool[Tensor, " R"], outside: Bool[Tensor, " R"]
) -> Float[Tensor, ""]:
    """Return the light that passes inside an object, and what is stopped outside, summed in parts of all rays.

    Args:
        transmittance: of the rays.
        inside: rays that should end.
        outside: rays that should pass.
    """
    # Of all rays, not of those inside: a small object is not to be pulled at more strongly than a large one.
    return (transmittance * inside + (1 - transmittance) * outside).mean()
