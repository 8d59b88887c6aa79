"""The networks of a step as CUDA graphs: a denoiser without a gradient, an encoder forward and backward."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.gpu.clock import captured


def graphed_predictor(unet: nn.Module, dtype: torch.dtype, device: str) -> Callable[..., Tensor]:
    """Return a denoiser of float32 tensors on the device; the first call captures, and fixes the shapes."""
    graphs: list[tuple[tuple[Tensor, ...], Callable]] = []

    @torch.no_grad()
    def predict(z: Tensor, t: Tensor, context: Tensor) -> Tensor:
        if not graphs:
            inputs = tuple(tensor.detach().clone() for tensor in (z, t, context))
            graphs.append((inputs, captured(lambda: unet(inputs[0].to(dtype), inputs[1], inputs[2].to(dtype)).float())))
        inputs, replay = graphs[0]
        for stored, given in zip(inputs, (z, t, context), strict=True):
            stored.copy_(given, non_blocking=True)
        return replay().clone()  # pyright: ignore

    return predict


def graphed_encoder(encoder: nn.Module, sample: Tensor) -> Callable[[Tensor], Tensor]:
    """Return an encoder of pictures on the device, captured forward and backward in bfloat16 autocast."""

    def encode(images: Tensor) -> Tensor:
        # weights that are cast once and cached would lie in memory that belongs to no graph
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            return encoder(images).float()

    return torch.cuda.make_graphed_callables(encode, (sample.detach().clone().requires_grad_(),))  # pyright: ignore
