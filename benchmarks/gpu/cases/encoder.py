"""The latent encoder of Stable Diffusion, value and gradient, and what each of its parts gains on a card."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.gpu.cases.denoisers import converted, gradient_of, with_tf32
from benchmarks.gpu.clock import Call, Row, captured, in_ways, tf32
from benchmarks.gpu.networks import make_encoder, pipeline_of
from benchmarks.gpu.run import Setting
from runtime.engines.twins.fused.norm import Switch


def switched(function: Callable[[], Any], norms: bool, products: bool, search: bool = False) -> Any:
    """Return what a function returns with or without kernels for norms, attention by products, and cuDNN's search."""
    before = Switch.norms, Switch.products, torch.backends.cudnn.benchmark
    Switch.norms, Switch.products, torch.backends.cudnn.benchmark = norms, products, search
    try:
        return function()
    finally:
        Switch.norms, Switch.products, torch.backends.cudnn.benchmark = before


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield rows of SD 1.5's encoder, and on a card of SDXL's."""
    cuda = setting.device != "cpu"
    for family in ("sd15", "sdxl") if cuda else ("sd15",):
        encoder, images = make_encoder(pipeline_of(family, setting), setting)
        # The reference is what PyTorch itself computes.
        ways = {"float32": lambda e=encoder, i=images: with_tf32(plain(e, i), False)}
        if cuda:
            ways |= graphed_ways(encoder, images)
        yield from in_ways(f"{family} encoder, value and gradient", ways, setting)


def plain(encoder: nn.Module, images: torch.Tensor) -> Call:
    """Return a call with PyTorch's own normalizations and attention."""
    inner = gradient_of(encoder, images)
    return lambda: switched(inner, norms=False, products=False)


def graphed_ways(encoder: nn.Module, images: torch.Tensor) -> dict[str, Callable[[], Call]]:
    """Return ways as CUDA graphs, for which the switches count while they are captured."""

    def graph(dtype: torch.dtype | None, *, whole: bool = False, **switches: bool) -> Callable[[], Call]:
        def prepare() -> Call:
            network = converted(encoder, dtype if whole and dtype else torch.float32, last=True)
            given = images.to(dtype) if whole and dtype else images
            with tf32(True):
                return captured(gradient_of(network, given, None if whole else dtype))

        return lambda: switched(prepare, **switches)

    half = torch.bfloat16
    return {
        "bfloat16 autocast, PyTorch's own": graph(half, norms=False, products=False),
        "bfloat16 autocast, attention by products": graph(half, norms=False, products=True),
        "bfloat16 autocast, kernels for norms": graph(half, norms=True, products=False),
        "bfloat16 autocast, both": graph(half, norms=True, products=True),
        "bfloat16 autocast, both, cuDNN's search": graph(half, norms=True, products=True, search=True),
        "bfloat16 throughout, both": graph(half, whole=True, norms=True, products=True),
        "float16 throughout, both": graph(torch.float16, whole=True, norms=True, products=True),
        "TF32, both": graph(None, norms=True, products=True),
    }
