"""The networks of the parts at their published sizes with random weights, made on the device; and tiny ones."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.run import Setting
from runtime.command.method import Method, draw
from runtime.loop.optimize import Stage


@torch.no_grad()
def randomize(module: nn.Module, device: str, seed: int = 0) -> nn.Module:
    """Return a module with random weights that keep features at about their size, frozen, in evaluation mode."""
    generator = torch.Generator(device).manual_seed(seed)
    for name, weight in module.named_parameters():
        if weight.ndim > 1:
            weight.normal_(0.0, weight[0].numel() ** -0.5, generator=generator)
        else:
            weight.normal_(0.0, 0.05, generator=generator)
            if name.endswith("weight"):  # of a normalization
                weight.add_(1.0)
    return module.eval().requires_grad_(False)


def random(setting: Setting, seed: int, *shape: int, uniform: bool = False) -> Tensor:
    """Return normal numbers, or uniform ones in [0, 1), drawn on the CPU: the same ones on every device."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand if uniform else torch.randn
    return numbers(shape, generator=generator).to(setting.device)


def pipeline_of(family: str, setting: Setting) -> Any:
    """Return a published pipeline of diffusers at 512 pixels where it has a choice, or its tiny twin."""
    from export.sd.configurations import PIPELINES

    return PIPELINES[f"tiny-{family}" if setting.tiny else family]


def make_unet(pipeline: Any, setting: Setting) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return a pipeline's U-Net as the runtime runs it, and the inputs of a guided pair of one picture."""
    from runtime.engines.twins.registry import TWINS

    unet = TWINS["UNet2DConditionModel"](dict(pipeline.unet)).to_empty(device=setting.device)
    side = int(pipeline.unet["sample_size"])
    z = random(setting, 1, 2, 4, side, side)
    t = torch.full((2,), 500, device=setting.device)
    inputs: tuple[Tensor, ...] = (z, t, random(setting, 2, 2, 77, int(pipeline.unet["cross_attention_dim"])))
    if pipeline.is_xl:
        width = int(pipeline.unet["projection_class_embeddings_input_dim"])
        width -= 6 * int(pipeline.unet["addition_time_embed_dim"])
        ids = [float(pipeline.image_size)] * 2 + [0.0, 0.0] + [float(pipeline.image_size)] * 2
        inputs = (*inputs, random(setting, 3, 2, width), torch.tensor([ids, ids], device=setting.device))
    return randomize(unet, setting.device), inputs


def make_encoder(pipeline: Any, setting: Setting) -> tuple[nn.Module, Tensor]:
    """Return a pipeline's latent encoder, and a picture."""
    from runtime.engines.twins.kl_encoder import KLEncoder, KLEncoderConfig

    names = ("in_channels", "layers_per_block", "latent_channels", "norm_num_groups")
    sizes = {name: pipeline.vae[name] for name in names}
    widths = tuple(pipeline.vae["block_out_channels"])
    with torch.device(setting.device):
        encoder = KLEncoder(
            KLEncoderConfig(block_out_channels=widths, latent_scale=pipeline.vae["scaling_factor"], **sizes)
        )
    side = pipeline.image_size
    return randomize(encoder, setting.device), random(setting, 4, 1, 3, side, side, uniform=True)


def make_tower(name: str, setting: Setting) -> tuple[nn.Module, int]:
    """Return an image transformer of open_clip's sizes by its name there, and the side of its pictures."""
    from export.clip.configurations import CLIP_MODELS
    from runtime.engines.twins.vit import VisionConfig, VisionTransformer

    config = CLIP_MODELS["tiny-clip" if setting.tiny else name].vision
    assert isinstance(config, VisionConfig)
    with torch.device(setting.device):
        tower = VisionTransformer(config)
    # what the constructor keeps off the meta device lies on the CPU
    return randomize(tower.to(setting.device), setting.device), config.input_size


def make_pixel_denoiser(preset: str, setting: Setting) -> nn.Module:
    """Return DDPM's network of a preset."""
    from train.ddpm.network import PRESETS, PixelDenoiser

    architecture = replace(PRESETS["tiny" if setting.tiny else preset], dropout=0.0)
    with torch.device(setting.device):
        network = PixelDenoiser(architecture)
    return randomize(network, setting.device)


def draw_stage(method: Method, config: Any, stage: Stage) -> None:
    """Draw a stage of a method with the loop that ships, without a bundle: the networks come with the stage."""
    draw(replace(method, kind=None, build=lambda *_, **options: [stage]), config)
