"""The floors: rates of products by type, bandwidths, and what a launch costs."""

from collections.abc import Callable, Iterator

import torch

from benchmarks.gpu.clock import Call, Row, captured, tf32, time_call
from benchmarks.gpu.run import Setting

LAUNCHES = 200
"""Small kernels in a row, whose time is that of launching them."""


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield the card's facts, then rates."""
    if setting.device.startswith("cuda"):
        yield card()
    yield from products(setting)
    yield from copies(setting)
    yield from launches(setting)


def card() -> Row:
    """Return what the driver says of the card."""
    about = torch.cuda.get_device_properties(0)
    return {
        "what": about.name,
        "way": f"compute capability {about.major}.{about.minor}, {about.multi_processor_count} multiprocessors, "
        f"{about.total_memory / 2**30:.1f} GiB, L2 {getattr(about, 'L2_cache_size', 0) / 2**20:.0f} MiB, "
        f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
    }


def products(setting: Setting) -> Iterator[Row]:
    """Yield the rate of a square product in each type, and of a 3x3 convolution in channels-last."""
    side = 256 if setting.tiny else 8192
    kinds = {
        "float32": (torch.float32, False),
        "TF32": (torch.float32, True),
        "bfloat16": (torch.bfloat16, True),
        "float16": (torch.float16, True),
    }
    for name, (dtype, tf32_factors) in kinds.items():
        if setting.tiny and dtype == torch.float16:
            continue  # some processors have no product of it
        with tf32(tf32_factors):
            a, b = (torch.randn(side, side, device=setting.device, dtype=dtype) for _ in range(2))
            row = time_call(lambda a=a, b=b: a @ b, setting)
        yield {"what": f"product of {side} x {side}", "way": name, **row, "tflops": 2e-9 * side**3 / row["ms"]}
    channels, cells = (32, 16) if setting.tiny else (640, 64)
    dtype = torch.float32 if setting.tiny else torch.float16
    x = torch.randn(2, channels, cells, cells, device=setting.device, dtype=dtype)
    weight = torch.randn(channels, channels, 3, 3, device=setting.device, dtype=dtype)
    x, weight = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight))
    row = time_call(lambda: torch.nn.functional.conv2d(x, weight, padding=1), setting)
    operations = 2.0 * 2 * cells**2 * channels**2 * 9
    yield {
        "what": f"3x3 convolution of {channels} channels, 2 x {cells} x {cells}",
        "way": "float16" if dtype == torch.float16 else "float32",
        **row,
        "tflops": operations / row["ms"] / 1e9,
    }


def copies(setting: Setting) -> Iterator[Row]:
    """Yield bandwidths: of the device's memory, bytes read and written, and between it and the host."""
    size = 1 << (22 if setting.tiny else 30)
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    row = time_call(lambda: target.copy_(source), setting)
    yield {"what": "copy on the device", "way": f"{size >> 20} MiB", **row, "gb_s": 2e-6 * size / row["ms"]}
    if not setting.device.startswith("cuda"):
        return
    few = 1 << 26
    for pinned in (True, False):
        host = torch.empty(few, dtype=torch.uint8, pin_memory=pinned)
        row = time_call(lambda host=host: target[:few].copy_(host, non_blocking=True), setting)
        way = "pinned memory" if pinned else "pageable memory"
        yield {"what": f"{few >> 20} MiB from the host", "way": way, **row, "gb_s": 1e-6 * few / row["ms"]}


def launches(setting: Setting) -> Iterator[Row]:
    """Yield the time of a small kernel in a row of them, one by one and as one graph."""
    x = torch.zeros(1024, device=setting.device)

    def several() -> torch.Tensor:
        for _ in range(LAUNCHES):
            x.add_(1.0)
        return x

    calls: dict[str, Callable[[], Call]] = {"one by one": lambda: several}
    if setting.device.startswith("cuda"):
        calls["as one CUDA graph"] = lambda: captured(several)
    for way, prepare in calls.items():
        row = time_call(prepare(), setting)
        yield {"what": "a small kernel", "way": way, **row, "microseconds_each": 1e3 * row["ms"] / LAUNCHES}
