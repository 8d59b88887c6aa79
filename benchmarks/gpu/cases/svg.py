"""A step of text to SVG, and with it a whole SVG: the loop as it ships, with Stable Diffusion's networks.

Weights are random, so the picture is noise; what is timed does not depend on it. The seconds of a whole SVG are those
of a step times `STEPS`, extrapolated: not a run of so many.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.cases.denoisers import converted, forward_of, gradient_of, typed, with_tf32
from benchmarks.gpu.clock import Row, captured, time_call, wait
from benchmarks.gpu.graphs import graphed_encoder, graphed_predictor
from benchmarks.gpu.networks import draw_stage, make_encoder, make_unet, pipeline_of, random
from benchmarks.gpu.run import Setting

STEPS = 500
"""Steps of a whole SVG."""


@dataclass(frozen=True)
class Networks:
    """What text to SVG asks of a bundle."""

    image_size: int
    schedule: dict[str, Any]
    predict: Callable[..., Tensor]
    encode: Callable[[Tensor], Tensor]
    latent_shape: tuple[int, int, int]
    device: str = "cpu"
    capturable: bool = False
    """Whether the loop may capture them as one CUDA graph."""

    def denoiser(self) -> Callable[..., Tensor]:
        """Return the noise predictor."""
        return self.predict

    def latent_encoder(self, gradients: str = "torch") -> Callable[[Tensor], Tensor]:
        """Return the encoder."""
        return self.encode


def predictor(unet: nn.Module, dtype: torch.dtype, device: str) -> Callable[..., Tensor]:
    """Return a denoiser that takes and gives float32 tensors of any device."""

    @torch.no_grad()
    def predict(z: Tensor, t: Tensor, context: Tensor) -> Tensor:
        predicted = unet(z.to(device, dtype), t.to(device), context.to(device, dtype))
        return predicted.float().to(z.device)

    return predict


def encoding(encoder: nn.Module, device: str) -> Callable[[Tensor], Tensor]:
    """Return an encoder that takes and gives float32 tensors of any device."""

    def encode(images: Tensor) -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            return encoder(images.to(device)).float().to(images.device)

    return encode


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield the step with the scene on the CPU and on the device, beside the networks alone."""
    from export.sd.configurations import SCHEDULE

    pipeline = pipeline_of("sd15", setting)
    unet, inputs = make_unet(pipeline, setting)
    encoder, images = make_encoder(pipeline, setting)
    dtype = torch.float32 if setting.device == "cpu" else torch.float16
    unet, encoder = converted(unet, dtype, last=True), converted(encoder, torch.float32, last=True)
    denoise = forward_of(unet, typed(inputs, dtype))
    encode = gradient_of(encoder, images, torch.bfloat16 if setting.device != "cpu" else None)
    alone = 0.0
    for name, call in (("U-Net alone", denoise), ("encoder alone, value and gradient", encode)):
        row = time_call(captured(call) if setting.device != "cpu" else with_tf32(call, False), setting)
        alone += row["ms"]
        yield {"way": f"{name}{', CUDA graph' if setting.device != 'cpu' else ''}", **row}
    networks = Networks(
        pipeline.image_size,
        dict(SCHEDULE),
        predictor(unet, dtype, setting.device),
        encoding(encoder, setting.device),
        tuple(inputs[0].shape[1:]),  # pyright: ignore
        setting.device,
    )
    context = inputs[2][:1]
    ways = {"scene on the CPU": ("cpu", "numba", lambda: networks)}
    if setting.device != "cpu":
        ways["scene on the device, rasterizer on the CPU"] = (setting.device, "numba", lambda: networks)
        ways["scene and rasterizer on the device"] = (setting.device, "cuda", lambda: networks)

        def graphed() -> Networks:
            predict = graphed_predictor(unet, dtype, setting.device)
            return replace(networks, predict=predict, encode=graphed_encoder(encoder, images))

        ways["scene and rasterizer on the device, networks as CUDA graphs"] = (setting.device, "cuda", graphed)
        whole = replace(networks, capturable=True)
        ways["scene on the CPU, distillation as one CUDA graph"] = ("cpu", "numba", lambda: whole)
        ways["scene and rasterizer on the device, distillation as one CUDA graph"] = (
            setting.device,
            "cuda",
            lambda: whole,
        )
    for name, (place, rasterizer, make) in ways.items():
        row = {"way": f"step, {name}"}
        try:
            row |= steps(make(), context, place, rasterizer, setting)
            row["times_the_networks"] = row["ms"] / alone
        except Exception as error:  # any: the row says why
            row["failed"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        yield row


def steps(networks: Networks, context: Tensor, place: str, rasterizer: str, setting: Setting) -> Row:
    """Return milliseconds a step of the loop that ships, and the seconds of a whole SVG extrapolated from it."""
    from runtime.guidance.prompt import Prompt
    from runtime.loop.optimize import generator_of
    from runtime.vector.scene import VectorScene
    from runtime.vectorfusion import METHOD, SDS_FROM_SCRATCH
    from runtime.vectorfusion.stages import TRAINED, distillation, random_start

    few, many = (1, 2) if setting.tiny else (16, 48)
    config = replace(SDS_FROM_SCRATCH, prompt="a red apple", steps=many, paths=8 if setting.tiny else 64)
    object.__setattr__(config, "rasterizer", rasterizer)  # "cuda" is no choice of users yet
    side = networks.image_size
    prompt = Prompt((config.prompt,), context.to(place), random(setting, 12, *context.shape).to(place))

    def begin(before: object, generator: torch.Generator) -> VectorScene:
        drawing = random_start(config, (side, side), generator_of(0, 0, 0, "begin")).to(place)
        return VectorScene(drawing, train=TRAINED["icon"], backend=rasterizer)

    seconds = []
    for count in (few, many):
        stage = replace(distillation(config, networks, prompt, begin), steps=count, snapshots=0)  # pyright: ignore
        begun = time.perf_counter()
        draw_stage(METHOD, config, stage)
        wait(setting.device)
        seconds.append(time.perf_counter() - begun)
    each = seconds[1] / many
    return {"ms": 1e3 * each, "first_seconds": seconds[0], f"seconds_of_{STEPS}_steps": STEPS * each}
