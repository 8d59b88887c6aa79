"""The networks of a step: Stable Diffusion's U-Net on a guided pair, encoders and CLIP forward and backward."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.clock import Call, Row, captured, in_ways, tf32
from benchmarks.gpu.networks import make_encoder, make_tower, make_unet, pipeline_of, random
from benchmarks.gpu.run import Setting

TOWERS = (("ViT-B-32", 4), ("ViT-B-32", 32), ("ViT-L-14", 4))
"""Image transformers by open_clip's names, and pictures of a call; CLIPDraw augments four at a time."""


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield rows of a family, `sd15`, `sd21-base` or `sdxl`, or of `clip`."""
    if case == "clip":
        yield from towers(setting)
        return
    pipeline = pipeline_of(case, setting)
    unet, inputs = make_unet(pipeline, setting)
    side = pipeline.image_size
    name = f"{case} U-Net, guided pair, {side} px"
    yield from in_ways(name, unet_ways(unet, inputs, setting), setting, operations=operations(unet, inputs))
    del unet
    encoder, images = make_encoder(pipeline, setting)
    name = f"{case} encoder, value and gradient, {side} px"
    yield from in_ways(name, gradient_ways(encoder, images, setting), setting)


def towers(setting: Setting) -> Iterator[Row]:
    """Yield rows of CLIP's image transformers, value and gradient by the pictures."""
    for name, count in TOWERS[:1] if setting.tiny else TOWERS:
        tower, side = make_tower(name, setting)
        images = random(setting, 5, count, 3, side, side, uniform=True)
        title = f"{name}, value and gradient, {count} pictures of {side} px"
        yield from in_ways(title, gradient_ways(tower, images, setting), setting)


def operations(network: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    """Return the operations of a call as PyTorch counts them: a multiplication and an addition are two."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return float(counter.get_total_flops())


def converted(network: nn.Module, dtype: torch.dtype, *, last: bool) -> nn.Module:
    """Return a copy in another type; `last` lays weights of convolutions out channels-last."""
    layout = torch.channels_last if last else torch.preserve_format
    return copy.deepcopy(network).to(dtype).to(memory_format=layout)  # pyright: ignore


def typed(inputs: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return inputs, those of floating point in a type."""
    return tuple(tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in inputs)


def forward_of(network: nn.Module, inputs: tuple[Tensor, ...]) -> Call:
    """Return a call without a gradient."""

    @torch.no_grad()
    def call() -> Tensor:
        return network(*inputs)

    return call


def with_tf32(call: Call, on: bool) -> Call:
    """Return a call whose float32 products keep ten bits of their factors, or not."""

    def switched() -> Tensor | tuple[Tensor, ...]:
        with tf32(on):
            return call()

    return switched


def unet_ways(unet: nn.Module, inputs: tuple[Tensor, ...], setting: Setting) -> dict[str, Callable[[], Call]]:
    """Return the ways to run a U-Net; the first is the reference."""

    def half(dtype: torch.dtype, last: bool) -> Call:
        return forward_of(converted(unet, dtype, last=last), typed(inputs, dtype))

    ways: dict[str, Callable[[], Call]] = {
        "float32": lambda: with_tf32(forward_of(unet, inputs), False),
        "bfloat16, channels-last": lambda: half(torch.bfloat16, True),
    }
    if not setting.device.startswith("cuda"):
        return ways
    return ways | {
        "float16, channels-last": lambda: half(torch.float16, True),
        "float16, channels-last, CUDA graph": lambda: captured(half(torch.float16, True)),
        "float16": lambda: half(torch.float16, False),
        "float16, CUDA graph": lambda: captured(half(torch.float16, False)),
        "TF32": lambda: with_tf32(forward_of(unet, inputs), True),
    }


def gradient_of(network: nn.Module, images: Tensor, dtype: torch.dtype | None = None) -> Call:
    """Return a call that gives value and vector-Jacobian product by the images; `dtype` is that of autocast."""
    with torch.no_grad():
        shape = network(images).shape
    # a vector at random: the gradient of a norm would vanish for embeddings of unit norm
    cotangent = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(images.device)

    def call() -> tuple[Tensor, Tensor]:
        leaf = images.detach().requires_grad_()
        with torch.autocast(images.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            value = network(leaf).float()
        (gradient,) = torch.autograd.grad(value, leaf, cotangent)
        return value.detach(), gradient

    return call


def gradient_ways(network: nn.Module, images: Tensor, setting: Setting) -> dict[str, Callable[[], Call]]:
    """Return the ways to run a network forward and backward by its images; the first is the reference."""

    def last() -> nn.Module:
        return converted(network, torch.float32, last=True)

    ways: dict[str, Callable[[], Call]] = {
        "float32": lambda: with_tf32(gradient_of(network, images), False),
        "bfloat16 autocast, channels-last": lambda: gradient_of(last(), images, torch.bfloat16),
    }
    if not setting.device.startswith("cuda"):
        return ways

    def graphed(prepare: Callable[[], Call]) -> Call:
        with tf32(True):
            return captured(prepare())

    return ways | {
        "TF32": lambda: with_tf32(gradient_of(network, images), True),
        "TF32, channels-last": lambda: with_tf32(gradient_of(last(), images), True),
        "TF32, channels-last, CUDA graph": lambda: graphed(lambda: gradient_of(last(), images)),
        "float16 autocast, channels-last": lambda: gradient_of(last(), images, torch.float16),
        "bfloat16 autocast, channels-last, CUDA graph": lambda: graphed(
            lambda: gradient_of(last(), images, torch.bfloat16)
        ),
    }
