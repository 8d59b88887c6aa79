"""A step of DreamFusion: the paper's network on the device, Stable Diffusion's networks at their true size."""

import time
from collections.abc import Iterator
from dataclasses import replace

import torch

from benchmarks.gpu.cases.denoisers import converted
from benchmarks.gpu.cases.svg import encoding, predictor
from benchmarks.gpu.clock import Row, wait
from benchmarks.gpu.graphs import graphed_encoder, graphed_predictor
from benchmarks.gpu.networks import draw_stage, make_encoder, make_unet, pipeline_of, random
from benchmarks.gpu.run import Setting
from runtime.dreamfusion import METHOD
from runtime.dreamfusion.config import preset_config
from runtime.dreamfusion.stages import stages_of
from runtime.dreamfusion.teacher import Teacher
from runtime.guidance.prompt import Prompt
from runtime.guidance.schedule import Schedule


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield milliseconds of a step with the networks as they are, and as CUDA graphs."""
    from export.sd.configurations import SCHEDULE

    pipeline = pipeline_of("sd15", setting)
    unet, inputs = make_unet(pipeline, setting)
    encoder, images = make_encoder(pipeline, setting)
    cuda = setting.device != "cpu"
    dtype = torch.float16 if cuda else torch.float32
    unet, encoder = converted(unet, dtype, last=True), converted(encoder, torch.float32, last=True)
    config = replace(preset_config("thesis"), prompt="a chair", views="none", samples=64)
    if setting.tiny:
        config = replace(config, samples=4, render=8)
    # the scene draws on the CPU and is seen there: see `PaperField`
    context = inputs[2][:1].cpu()
    plain = Teacher(
        config=config,
        prompt=Prompt((config.prompt,), context, random(setting, 12, *context.shape).cpu()),
        denoise=predictor(unet, dtype, setting.device),
        schedule=Schedule.of(SCHEDULE),
        encode=encoding(encoder, setting.device),
        encode_early=None,
        image_size=pipeline.image_size,
    )
    ways = {"networks as they are": lambda: plain}
    if cuda:

        def graphed() -> Teacher:
            predict, encode = graphed_predictor(unet, dtype, setting.device), graphed_encoder(encoder, images)
            there = setting.device
            return replace(
                plain,
                denoise=lambda z, t, context: predict(z.to(there), t.to(there), context.to(there)).cpu(),
                encode=lambda pictures: encode(pictures.to(there)).cpu(),
            )

        ways["networks as CUDA graphs"] = graphed
    for name, make in ways.items():
        row: Row = {"case": f"DreamFusion, {config.render} px, {config.samples} samples", "way": name}
        try:
            row |= steps(make(), setting)
        except Exception as error:  # any: the row says why
            row["failed"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        yield row


def steps(teacher: Teacher, setting: Setting) -> Row:
    """Return milliseconds of a step of the loop that ships, after some that warm up."""
    (stage,) = stages_of(teacher.config, teacher, setting.device)
    seconds = []
    few, many = (1, 2) if setting.tiny else (4, 24)
    if setting.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    for count in (few, many):
        begun = time.perf_counter()
        draw_stage(METHOD, teacher.config, replace(stage, steps=count, snapshots=0))
        wait(setting.device)
        seconds.append(time.perf_counter() - begun)
    row: Row = {"ms": 1e3 * seconds[1] / many, "first_seconds": seconds[0]}
    if setting.device != "cpu":
        row["memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return row
