"""Distillation of a picture as one CUDA graph: encoder, noise, denoiser, and the way back to the picture.

A step of a diffusion model launches thousands of kernels, and Python takes longer to launch them than a large card to
run them. Shapes are the same in every step, so the launches are recorded once and replayed as one. What differs from
step to step (picture, times, noise) is copied into tensors that the graph reads.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A scalar of pictures, times and noise."""

WARM_UP = 2
"""Calls before the recording: libraries choose their kernels and make their working space in them."""


def record_graph(call: Callable[[], None]) -> Callable[[], None]:
    """Return what replays a call on the current CUDA device; the call is made some times before it is recorded."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


class CapturedLoss:
    """A loss of pictures whose value and gradient by them are computed by a recording; called like the loss.

    Pictures may lie anywhere; value and gradient come back to where they are.

    Args:
        loss: of tensors on the device, whose graph of launches depends on their shapes alone; nothing in it may wait.
        device: of the recording.
        record: makes a recording of a call.
    """

    def __init__(
        self, loss: Loss, device: str | torch.device, record: Callable[[Callable[[], None]], Callable] = record_graph
    ) -> None:
        """Remember what to record; the first call does."""
        self.loss, self.device, self.record = loss, torch.device(device), record
        self.shapes: tuple[torch.Size, ...] | None = None

    def __call__(
        self, images: Float[Tensor, "B 3 H W"], t: Int64[Tensor, " B"], noise: Float[Tensor, "B C h w"]
    ) -> Float[Tensor, ""]:
        """Return the loss; its gradient reaches the pictures alone."""
        return _Replayed.apply(images, self, t, noise)  # pyright: ignore[reportReturnType]

    def run(self, images: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return value and gradient on the device, in memory that the next call overwrites."""
        given = (images.detach(), t, noise)
        shapes = tuple(tensor.shape for tensor in given)
        if shapes != self.shapes:
            self.inputs = tuple(tensor.to(self.device, copy=True) for tensor in given)
            self.replay, self.shapes = self.record(self._call), shapes
        for stored, tensor in zip(self.inputs, given, strict=True):
            stored.copy_(tensor, non_blocking=True)
        self.replay()
        return self.value, self.gradient

    def _call(self) -> None:
        with torch.enable_grad():
            images = self.inputs[0].detach().requires_grad_()
            value = self.loss(images, *self.inputs[1:])
            (self.gradient,) = torch.autograd.grad(value, images)
            self.value = value.detach()


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images, captured, t, noise):
        value, gradient = captured.run(images, t, noise)
        ctx.save_for_backward(gradient.to(images.device, copy=True))
        return value.to(images.device, copy=True)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstreams):
        return upstreams[0] * ctx.saved_tensors[0], None, None, None
