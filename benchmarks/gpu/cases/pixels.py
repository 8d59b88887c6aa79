"""Networks of pixels: DDPM's denoiser and its sampling; LMConv's training step and its cached sampler."""

import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.gpu.cases.denoisers import operations, unet_ways
from benchmarks.gpu.clock import Call, Row, in_ways, wait
from benchmarks.gpu.networks import make_pixel_denoiser, random
from benchmarks.gpu.run import Setting


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield rows of `ddpm` or of `lmconv`."""
    if case == "ddpm":
        yield from ddpm(setting)
    else:
        yield from lmconv(setting)


def ddpm(setting: Setting) -> Iterator[Row]:
    """Yield the cost of a denoising step and of a training step of CIFAR-10's network."""
    network = make_pixel_denoiser("cifar10", setting)
    size = network.architecture.size  # pyright: ignore
    for count in (2,) if setting.tiny else (1, 256):
        inputs = (random(setting, 6, count, 3, size, size), torch.full((count,), 500, device=setting.device))  # pyright: ignore
        name = f"DDPM cifar10, step of {count} pictures"
        yield from in_ways(name, unet_ways(network, inputs, setting), setting, operations=operations(network, inputs))
    yield from training("DDPM cifar10, training step", network, ddpm_loss(network, setting), setting)


def ddpm_loss(network: nn.Module, setting: Setting) -> Callable[[], Tensor]:
    """Return the loss of a training step, 128 pictures."""
    count, size = 2 if setting.tiny else 128, network.architecture.size  # pyright: ignore
    z, noise = random(setting, 7, count, 3, size, size), random(setting, 8, count, 3, size, size)  # pyright: ignore
    t = torch.randint(1000, (count,), generator=torch.Generator().manual_seed(0)).to(setting.device)
    return lambda: (network(z, t) - noise).square().mean()


def training(name: str, network: nn.Module, loss: Callable[[], Tensor], setting: Setting) -> Iterator[Row]:
    """Yield the cost of a step of AdamW in float32 and in bfloat16; errors are those of the weights' gradient."""
    network.requires_grad_().train()
    weights = list(network.parameters())
    adam = torch.optim.AdamW(weights, lr=0.0, fused=True)

    def step(dtype: torch.dtype | None, deterministic: bool = True) -> Call:
        def call() -> Tensor:
            torch.backends.cudnn.deterministic = deterministic
            adam.zero_grad(set_to_none=True)
            with torch.autocast(torch.device(setting.device).type, dtype or torch.bfloat16, enabled=dtype is not None):
                value = loss()
            value.backward()
            adam.step()
            return torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None])

        return call

    ways = {"float32": lambda: step(None)}
    if setting.device.startswith("cuda"):  # few processors have units for it
        ways["bfloat16"] = lambda: step(torch.bfloat16)
        ways["bfloat16, whatever kernels cuDNN likes"] = lambda: step(torch.bfloat16, deterministic=False)
    yield from in_ways(name, ways, setting)
    network.requires_grad_(False).eval()


def lmconv(setting: Setting) -> Iterator[Row]:
    """Yield the cost of a training step of the thesis' 46 million parameters, and of sampling."""
    from runtime.pixels.orders import parse_orders
    from train.lmconv.layer import use_method
    from train.lmconv.likelihood import log_likelihoods
    from train.lmconv.network import PRESETS, Architecture, LocallyMaskedPixelCNN

    preset, side, count = ("small", 8, 2) if setting.tiny else ("thesis-46m", 28, 32)
    torch.manual_seed(0)
    network = LocallyMaskedPixelCNN(Architecture(mask_conditioning=False, **PRESETS[preset])).to(setting.device)
    order = parse_orders("s-curve:0", (side, side))[0]
    pictures = (random(setting, 9, count, 1, side, side, uniform=True) > 0.8).to(torch.uint8)
    masks = network.masks(order, (side, side))
    for method in ("grouped",) if setting.tiny else ("grouped", "plain", "saved"):
        use_method(network, method)

        def loss() -> Tensor:
            return -log_likelihoods(network, pictures, masks).sum() / (count * side * side * math.log(2.0))

        name = f"LMConv {preset}, training step of {count} pictures of {side} px, {method}"
        yield from training(name, network, loss, setting)
    yield sampling(network, order, side, setting)


def sampling(network: nn.Module, order: object, side: int, setting: Setting) -> Row:
    """Return how long the cached sampler takes for some pictures: a captured position after the other."""
    from export.lmconv.networks import make_networks
    from runtime.engines.backends.eager import EagerEngine
    from runtime.pixels.sampler import Sampler
    from train.lmconv.layer import use_method

    count = 2 if setting.tiny else 16
    use_method(network, "plain").eval()  # pyright: ignore
    parts = make_networks(network.cpu(), (side, side)).values()  # pyright: ignore
    prefill, step = (EagerEngine(part.spec, part.module, device=setting.device) for part in parts)
    sampler = Sampler(prefill, step, network.architecture)  # pyright: ignore
    draws = torch.Generator().manual_seed(0)
    seconds = []
    for _ in range(1 if setting.tiny else 2):  # the first captures
        begun = time.perf_counter()
        sampler.sample(order, (side, side), generator=draws, count=count)  # pyright: ignore
        wait(setting.device)
        seconds.append(time.perf_counter() - begun)
    read = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    return {
        "case": f"LMConv, {count} pictures of {side} px by the cached sampler",
        "way": "float32",
        "ms": 1e3 * seconds[-1],
        "pictures_s": count / seconds[-1],
        "mib_read_a_position": read / 2**20,
    }
