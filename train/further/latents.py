"""Latents as bytes."""

import torch
from jaxtyping import Float, Int8
from torch import Tensor

STEPS_A_UNIT = 28
"""Steps of a stored latent in a unit; latents have a deviation of about 1."""


def to_bytes(latents: Float[Tensor, "N 4 h w"]) -> Int8[Tensor, "N 4 h w"]:
    """Return latents in steps of 1 / `STEPS_A_UNIT`, clipped at 127 of them."""
    return (latents.float() * STEPS_A_UNIT).round().clamp(-127, 127).to(torch.int8)


def from_bytes(codes: Int8[Tensor, "N 4 h w"]) -> Float[Tensor, "N 4 h w"]:
    """Return the latents of `to_bytes`, in half precision."""
    return (codes.float() / STEPS_A_UNIT).half()
