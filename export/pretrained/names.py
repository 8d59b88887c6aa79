"""Weights under the names of this package's transformers, which are open_clip's: from transformers' and timm's."""

import re
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from export.pretrained.weights import Renamed

Makers = dict[str, Callable[[], Tensor]]

_BLOCK = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_IN_BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_TEXT = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_VISION = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.weight": "ln_pre.weight",  # so spelled in transformers
    "pre_layrnorm.bias": "ln_pre.bias",
    "post_layernorm.weight": "ln_post.weight",
    "post_layernorm.bias": "ln_post.bias",
}
_TIMM_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)\.(weight|bias)")
_IN_TIMM_BLOCK = {
    "norm1": "ln_1",
    "norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "attn.proj": "attn.out_proj",
}
_TIMM = {
    "patch_embed.proj.weight": "conv1.weight",
    "patch_embed.proj.bias": "conv1.bias",
    "norm.weight": "ln_post.weight",
    "norm.bias": "ln_post.bias",
}


def text_from_transformers(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the text model of a `CLIPTextModel`, with or without projection, or of a `CLIPModel`."""
    whole = any(name.startswith("text_model.") for name in tensors)  # newer versions leave the prefix out
    makers = _of_transformers(tensors, "text_model." if whole else "", _TEXT)
    if "text_projection.weight" in tensors:
        # transformers has a Linear, outputs first; open_clip multiplies by a matrix from the right.
        makers["text_projection"] = lambda: tensors["text_projection.weight"].T
    return Renamed(makers)


def vision_from_transformers(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the image model of a `CLIPVisionModelWithProjection` or a `CLIPModel`."""
    makers = _of_transformers(tensors, "vision_model.", _VISION)
    if "visual_projection.weight" in tensors:
        makers["proj"] = lambda: tensors["visual_projection.weight"].T
    return Renamed(makers)


def vision_from_timm(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a `VisionTransformer` of timm, without its classifier."""
    makers: Makers = {}
    for name in tensors:
        read = partial(tensors.__getitem__, name)
        if name == "cls_token":
            # timm keeps the axes of batch and token, each of size 1.
            makers["class_embedding"] = lambda: tensors["cls_token"].reshape(-1)
        elif name == "pos_embed":
            makers["positional_embedding"] = lambda: tensors["pos_embed"][0]
        elif name in _TIMM:
            makers[_TIMM[name]] = read
        elif match := _TIMM_BLOCK.fullmatch(name):
            block, stem, kind = f"transformer.resblocks.{match[1]}", match[2], match[3]
            if stem == "attn.qkv":
                # timm joins query, key and value in this order, too.
                makers[f"{block}.attn.in_proj_{kind}"] = read
            elif stem in _IN_TIMM_BLOCK:
                makers[f"{block}.{_IN_TIMM_BLOCK[stem]}.{kind}"] = read
    return Renamed(makers)


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> Mapping[str, Tensor]:
    """Return the weights whose names begin with a prefix, without it."""
    names = [name for name in tensors if name.startswith(prefix)]
    return Renamed({name.removeprefix(prefix): partial(tensors.__getitem__, name) for name in names})


def _of_transformers(tensors: Mapping[str, Tensor], prefix: str, outside: Mapping[str, str]) -> Makers:
    makers: Makers = {}
    for name in tensors:
        if not name.startswith(prefix):
            continue
        inner, read = name.removeprefix(prefix), partial(tensors.__getitem__, name)
        if inner in outside:
            makers[outside[inner]] = read
        elif match := _BLOCK.fullmatch(inner):
            block, stem, kind = f"transformer.resblocks.{match[1]}", match[2], match[3]
            if stem in _IN_BLOCK:
                makers[f"{block}.{_IN_BLOCK[stem]}.{kind}"] = read
            # One of the three stands for all: the joined weight has one name here.
            elif stem == "self_attn.q_proj":
                makers[f"{block}.attn.in_proj_{kind}"] = partial(_join, tensors, name)
    return makers


def _join(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """Return the weights of query, key and value one below another."""
    return torch.cat([tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")])
