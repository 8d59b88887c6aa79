"""The gradient bridge: a value from one provider, its vector-Jacobian product from another, one node of autograd.

A network whose input gradient is needed can run as PyTorch forward and backward (then it needs no bridge), or take its
value from any engine and its gradient from PyTorch or from an engine whose graph computes value and VJP together.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from runtime.engines.protocols import Engine

Value = Callable[[Float[Tensor, "..."]], Float[Tensor, "..."]]
"""y = f(x)."""

Vjp = Callable[[Float[Tensor, "*shape"], Float[Tensor, "..."]], Float[Tensor, "*shape"]]
"""x, dL/dy -> dL/dx."""


class _Bridge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Float[Tensor, "..."], value: Value, vjp: Vjp) -> Float[Tensor, "..."]:
        # not a plain attribute: autograd then reports a write to x between value and gradient
        ctx.save_for_backward(x)
        ctx.vjp = vjp
        return value(x.detach())

    @staticmethod
    # nothing is recorded in the VJP: a second derivative would be wrong without a word, and now raises
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        # contiguous, since the gradient of a sum arrives expanded, with strides of 0
        gradient = ctx.vjp(x.detach(), cotangents[0].contiguous())
        # autograd itself would sum a larger gradient down to the shape of x without a word
        if gradient.shape != x.shape:
            raise ValueError(f"vector-Jacobian product: expected {tuple(x.shape)}, got {tuple(gradient.shape)}")
        return gradient, None, None


def differentiable(value: Value, vjp: Vjp) -> Value:
    """Return a function of one tensor that autograd can differentiate once.

    Args:
        value: computes y of a detached x.
        vjp: computes dL/dx of a detached x and a contiguous dL/dy.
    """

    def bridged(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return _Bridge.apply(x, value, vjp)  # pyright: ignore[reportReturnType]

    return bridged


def vjp_of_engine(engine: Engine) -> Vjp:
    """Return the VJP of an engine that takes (x, dL/dy) and gives (y, dL/dx).

    Raises:
        ValueError: the engine has other numbers of inputs and outputs.
    """
    spec = engine.spec
    if len(spec.inputs) != 2 or len(spec.outputs) != 2:
        raise ValueError(
            f"engine '{spec.name}': expected 2 inputs (x, cotangent) and 2 outputs (value, gradient), "
            f"got {len(spec.inputs)} and {len(spec.outputs)}"
        )
    return lambda x, cotangent: engine(x, cotangent)[1]


def value_of_engine(engine: Engine) -> Value:
    """Return the first output of an engine of one input as a function of one tensor."""
    return lambda x: engine(x)[0]
