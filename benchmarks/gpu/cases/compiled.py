"""The networks of a step compiled by torch.compile, which takes minutes for the U-Net: so it comes last."""

import time
from collections.abc import Callable, Iterator

import torch
from torch import nn

from benchmarks.gpu.cases.denoisers import converted, forward_of, gradient_of, typed
from benchmarks.gpu.clock import Call, Row, captured, difference, tensors, time_call
from benchmarks.gpu.networks import make_encoder, make_tower, make_unet, pipeline_of, random
from benchmarks.gpu.run import Setting


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield eager, compiled, and compiled in a CUDA graph, of each network; seconds are those of compiling."""
    pipeline = pipeline_of("sd15", setting)
    cuda = setting.device != "cpu"
    tower, side = make_tower("ViT-B-32", setting)
    views = random(setting, 5, 4, 3, side, side, uniform=True)
    autocast = torch.bfloat16 if cuda else None
    yield from both("ViT-B-32, value and gradient", tower, lambda net: gradient_of(net, views, autocast), setting)
    if setting.tiny:
        return  # tracing the others takes as long as at their true size
    encoder, images = make_encoder(pipeline, setting)
    encoder = converted(encoder, torch.float32, last=True)
    yield from both(
        "SD 1.5 encoder, value and gradient", encoder, lambda net: gradient_of(net, images, autocast), setting
    )
    del tower, encoder
    dtype = torch.float16 if cuda else torch.float32
    unet, inputs = make_unet(pipeline, setting)
    unet = converted(unet, dtype, last=True)
    yield from both("SD 1.5 U-Net, guided pair", unet, lambda net: forward_of(net, typed(inputs, dtype)), setting)


def both(case: str, network: nn.Module, prepare: Callable[[nn.Module], Call], setting: Setting) -> Iterator[Row]:
    """Yield the rows of a network."""
    eager = prepare(network)
    expected = tensors(eager())
    yield {"case": case, "way": "eager", **time_call(eager, setting)}
    try:
        # the dry run has no compiler: it only goes through the capture of the graph
        compiled = prepare(torch.compile(network, backend="eager" if setting.tiny else "inductor"))  # pyright: ignore
        begun = time.perf_counter()
        got = tensors(compiled())
        row: Row = {"case": case, "way": "compiled", "seconds_to_compile": time.perf_counter() - begun}
        yield row | time_call(compiled, setting) | difference(got, expected)
        if setting.device != "cpu":
            replay = captured(compiled)
            got = tensors(replay())
            yield {"case": case, "way": "compiled, CUDA graph", **time_call(replay, setting)} | difference(
                got, expected
            )
    except Exception as error:  # any: no compiler, say
        yield {
            "case": case,
            "way": "compiled",
            "failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
        }
