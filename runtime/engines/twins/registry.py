"""The PyTorch twins besides the autoencoder's: image encoders, and Stable Diffusion's U-Net, which diffusers has."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

import torch
from torch import Tensor, nn

from runtime.engines.strict_json import check_fields
from runtime.engines.twins.convnext import ConvNext, ConvNextConfig
from runtime.engines.twins.fused.norm import fuse_norms
from runtime.engines.twins.image_tower import ImageTower, ImageTowerConfig
from runtime.engines.twins.vit import VisionConfig, VisionTransformer
from runtime.errors import UserError
from runtime.installing import install_command

_KINDS: dict[type, type] = {int: int, float: float, bool: bool, str: str}


def _maker(name: str, config: type, module: Callable[[Any], nn.Module]) -> Callable[[dict], nn.Module]:
    """Return a function that makes a module on the meta device from the fields of its configuration class."""

    def make(arguments: dict) -> nn.Module:
        # `type` is a class only while these modules do not postpone annotations; all else is a tuple, in JSON a list
        kinds = {field.name: _KINDS.get(field.type, list) for field in fields(config)}  # pyright: ignore
        required = {field.name: kinds[field.name] for field in fields(config) if field.default is MISSING}
        given = check_fields(arguments, name, required, kinds)
        for key, value in given.items():
            if isinstance(value, list) and not all(type(number) in (int, float) for number in value):
                raise ValueError(f"{key}: expected numbers, got {value!r:.60}")
        plain = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
        with torch.device("meta"):  # sizes without memory: the weights are assigned from the file
            return module(config(**plain))

    return make


def _make_unet(arguments: dict) -> nn.Module:
    # in here, since diffusers takes seconds to import and no other network needs it
    try:
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    except ImportError:
        raise UserError(
            "the PyTorch backend of a Stable Diffusion denoiser needs the package 'diffusers'; install it with: "
            f"{install_command('export')}; or take --backend ort"
        ) from None

    class ConditionedUNet(UNet2DConditionModel):
        """The U-Net with the inputs of the engine, in their order."""

        def forward(self, sample: Tensor, timestep: Tensor, context: Tensor, pooled=None, time_ids=None) -> Tensor:  # pyright: ignore
            added = None if pooled is None else {"text_embeds": pooled, "time_ids": time_ids}
            return super().forward(sample, timestep, context, added_cond_kwargs=added, return_dict=False)[0]  # pyright: ignore

    with torch.device("meta"):
        return fuse_norms(ConditionedUNet.from_config(dict(arguments)))  # pyright: ignore


TWINS: Mapping[str, Callable[[dict], nn.Module]] = {
    "VisionTransformer": _maker("VisionTransformer", VisionConfig, VisionTransformer),
    "ConvNext": _maker("ConvNext", ConvNextConfig, ConvNext),
    "ImageTower": _maker("ImageTower", ImageTowerConfig, ImageTower),
    "UNet2DConditionModel": _make_unet,
}
"""For each class on the list, the function that makes a module from the arguments in config.json."""
