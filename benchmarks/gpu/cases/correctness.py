"""Values and gradients of every network and kernel on the device beside those on the CPU, in float32."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from benchmarks.gpu.clock import Row, difference, tensors, tf32
from benchmarks.gpu.networks import make_encoder, make_pixel_denoiser, make_tower, make_unet, pipeline_of, random
from benchmarks.gpu.parts import missing
from benchmarks.gpu.run import Setting

Case = Callable[[str], tuple[Tensor, ...]]
"""Takes a device and returns results; draws nothing there, so that both devices compute the same."""

SMALL = Setting(device="cpu", tiny=True, seconds=0.0)


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield the distance of each case's results from the CPU's, and whether they repeat to the bit."""
    # as training sets it: the same bytes again are a promise
    torch.backends.cudnn.deterministic = True
    kinds = (("float32", False), ("TF32", True)) if setting.device.startswith("cuda") else (("float32", False),)
    for name, make in cases().items():
        row: Row = {"case": name}
        try:
            run = make()
            expected = tensors(run("cpu"))
            for way, factors in kinds:
                with tf32(factors):
                    first, second = run(setting.device), run(setting.device)
                same = all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
                yield {**row, "way": way, **difference(tensors(first), expected), "same_bits_again": same}
        except Exception as error:  # any: the other cases run, and the row says why this one did not
            yield {**row, "failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def cases() -> Mapping[str, Callable[[], Case]]:
    """Return what makes each case; those that need seconds of compilation come last."""
    several: dict[str, Callable[[], Case]] = {
        "image transformer, value and gradient": tower,
        "latent encoder, value and gradient": lambda: value_and_gradient(
            *make_encoder(pipeline_of("sd15", SMALL), SMALL)
        ),
        "DDPM's network": lambda: forward(make_pixel_denoiser("tiny", SMALL), random(SMALL, 2, 2, 3, 32, 32), times()),
        "LMConv, log-likelihood and gradient": lmconv,
        "score distillation, loss and gradient": lambda: distillation,
        "NeRF's network, value and gradient": radiance,
    }
    if not missing(("diffusers",)):
        for family in ("sd15", "sd21-base", "sdxl"):
            several[f"U-Net of {family}"] = lambda family=family: unet(family)
    return several | {
        "drawing of fills, picture and gradients": lambda: drawing(strokes=False),
        "drawing of fills, by the device's own kernels": lambda: drawing(strokes=False, there="cuda"),
        "drawing of fills and strokes, picture and gradients": lambda: drawing(strokes=True),
    }


def tower() -> Case:
    """Return the case of CLIP's image transformer."""
    network, side = make_tower("ViT-B-32", SMALL)
    return value_and_gradient(network, random(SMALL, 1, 2, 3, side, side, uniform=True))


def unet(family: str) -> Case:
    """Return the case of a family's U-Net."""
    network, inputs = make_unet(pipeline_of(family, SMALL), SMALL)
    return forward(network, *inputs)


def times() -> Tensor:
    """Return two times."""
    return torch.tensor([100, 700])


def forward(network: nn.Module, *inputs: Tensor) -> Case:
    """Return a case of a network without a gradient."""

    def run(device: str) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return (network.to(device)(*(tensor.to(device) for tensor in inputs)),)

    return run


def value_and_gradient(network: nn.Module, images: Tensor) -> Case:
    """Return a case of a network and its vector-Jacobian product by the images."""

    def run(device: str) -> tuple[Tensor, ...]:
        leaf = images.to(device).requires_grad_()
        value = network.to(device)(leaf)
        cotangent = torch.randn(value.shape, generator=torch.Generator().manual_seed(3)).to(device)
        return value.detach(), torch.autograd.grad(value, leaf, cotangent)[0]

    return run


def lmconv() -> Case:
    """Return the case of a small LMConv network: log-likelihoods, and the gradient by its first weights."""
    from runtime.pixels.orders import parse_orders
    from train.lmconv.likelihood import log_likelihoods
    from train.lmconv.network import PRESETS, Architecture, LocallyMaskedPixelCNN

    torch.manual_seed(0)
    network = LocallyMaskedPixelCNN(Architecture(mask_conditioning=False, **PRESETS["small"]))
    pictures = (random(SMALL, 4, 2, 1, 12, 12, uniform=True) > 0.5).to(torch.uint8)
    order = parse_orders("s-curve:3", (12, 12))[0]

    def run(device: str) -> tuple[Tensor, ...]:
        network.to(device)
        values = log_likelihoods(network, pictures.to(device), network.masks(order, (12, 12)))
        first = next(network.parameters())
        return values.detach(), torch.autograd.grad(values.sum(), first)[0]

    return run


def distillation(device: str) -> tuple[Tensor, ...]:
    """Return loss and gradient of score distillation with a denoiser that halves."""
    from runtime.guidance.prompt import Prompt
    from runtime.guidance.schedule import Schedule
    from runtime.guidance.sds import distillation_loss

    z = random(SMALL, 5, 2, 4, 8, 8).to(device).requires_grad_()
    context = random(SMALL, 6, 2, 3, 5).to(device)
    schedule = Schedule.scaled_linear(beta_start=0.00085, beta_end=0.012, num_timesteps=1000)
    loss = distillation_loss(
        z,
        times().to(device),
        random(SMALL, 7, 2, 4, 8, 8).to(device),
        denoise=lambda z, t, context: 0.5 * z + context.mean(),
        schedule=schedule,
        prompt=Prompt(("a",), context[:1], context[1:]),
        omega=7.5,
    )
    return loss.detach(), torch.autograd.grad(loss, z)[0]


def radiance() -> Case:
    """Return the case of NeRF's network: densities, colours, and the gradient by its first weights."""
    from runtime.field.fields.networks import RadianceMLP

    torch.manual_seed(0)
    network = RadianceMLP()
    points, directions = random(SMALL, 8, 512, 3, uniform=True) * 2 - 1, random(SMALL, 9, 512, 3)

    def run(device: str) -> tuple[Tensor, ...]:
        density, colour = network.to(device)(points.to(device), directions.to(device))
        first = next(network.parameters())
        return density.detach(), colour.detach(), torch.autograd.grad(density.sum() + colour.sum(), first)[0]

    return run


def drawing(*, strokes: bool, there: str = "numba") -> Case:
    """Return the case of the rasterizer: picture and gradients; `there` is its backend on a device that is no CPU."""
    from runtime.vector.paths import random_circles, random_strokes
    from runtime.vector.raster import rasterize

    generator = torch.Generator().manual_seed(10)
    scene = random_circles(24, radius=18.0, size=(96, 80), generator=generator, batch=2)
    if strokes:
        scene = scene.append(random_strokes(4, width=5, size=(96, 80), generator=generator, batch=2))

    def run(device: str) -> tuple[Tensor, ...]:
        leaves = scene.map(lambda tensor: tensor.to(device).requires_grad_())
        image = rasterize(leaves, backend="numba" if device == "cpu" else there)
        upstream = torch.randn(image.shape, generator=torch.Generator().manual_seed(11)).to(device)
        leaves_of = [leaves.tensors[name] for name in ("points", "colours", "background")]
        return image.detach(), *torch.autograd.grad(image, leaves_of, upstream)

    return run
