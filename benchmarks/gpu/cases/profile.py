"""Where the time of a step of Stable Diffusion goes: the kernels that take most of it."""

from collections.abc import Iterator

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.cases.denoisers import converted, forward_of, gradient_of, typed
from benchmarks.gpu.clock import Call, Row, wait
from benchmarks.gpu.networks import make_encoder, make_unet, pipeline_of
from benchmarks.gpu.run import Setting

SHOWN, CALLS = 12, 3
"""Kernels that are shown of each call, and calls that are watched."""


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield the most expensive kernels of the U-Net, then of the encoder forward and backward."""
    pipeline = pipeline_of("sd15", setting)
    dtype = torch.float32 if setting.device == "cpu" else torch.float16
    unet, inputs = make_unet(pipeline, setting)
    unet = converted(unet, dtype, last=True)
    yield from kernels("SD 1.5 U-Net, guided pair", forward_of(unet, typed(inputs, dtype)), setting)
    del unet
    encoder, images = make_encoder(pipeline, setting)
    encoder = converted(encoder, torch.float32, last=True)
    autocast = None if setting.device == "cpu" else torch.bfloat16
    yield from kernels("SD 1.5 encoder, value and gradient", gradient_of(encoder, images, autocast), setting)


def kernels(case: str, call: Call, setting: Setting) -> Iterator[Row]:
    """Yield the kernels, or on a CPU the operators, that take most of a call's time."""
    call()
    wait(setting.device)
    cuda = setting.device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities, acc_events=True) as seen:
        for _ in range(CALLS):
            call()
        wait(setting.device)
    # on a device the kernels themselves, not the operators that launched them, whose times contain theirs
    name = "self_device_time_total" if cuda else "self_cpu_time_total"
    events = [e for e in seen.key_averages() if not cuda or str(e.device_type).endswith("CUDA")]
    total = sum(getattr(event, name) for event in events) or 1.0
    for event in sorted(events, key=lambda event: -getattr(event, name))[:SHOWN]:
        spent = getattr(event, name)
        yield {
            "case": case,
            "kernel": event.key[:110],
            "calls": event.count / CALLS,
            "ms": spent / CALLS / 1e3,
            "share": spent / total,
        }
    yield {"case": case, "kernel": "all", "ms": total / CALLS / 1e3, "share": 1.0}
