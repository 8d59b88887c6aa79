"""Weights of CLIP text encoders under the names of `export.clip.text.TextTransformer`, which are open_clip's."""

import re
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from export.sd.weights import Renamed

_BLOCK = re.compile(r"(?:text_model\.)?encoder\.layers\.(\d+)\.(.+)")
_IN_BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_OUTSIDE = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def from_transformers(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the weights of a `CLIPTextModel` or `CLIPTextModelWithProjection` of transformers under open_clip's names.

    Args:
        tensors: by the names of transformers; others than a text model's are left out.
    """
    makers: dict[str, Callable[[], Tensor]] = {}
    for name in tensors:
        if name == "text_projection.weight":
            makers["text_projection"] = lambda: tensors["text_projection.weight"].T
        elif name.removeprefix("text_model.") in _OUTSIDE:
            makers[_OUTSIDE[name.removeprefix("text_model.")]] = partial(tensors.__getitem__, name)
        elif found := _BLOCK.fullmatch(name):
            block, (stem, _, kind) = f"transformer.resblocks.{found[1]}", found[2].rpartition(".")
            if stem in _IN_BLOCK:
                makers[f"{block}.{_IN_BLOCK[stem]}.{kind}"] = partial(tensors.__getitem__, name)
            elif stem == "self_attn.q_proj":
                makers[f"{block}.attn.in_proj_{kind}"] = partial(_join, tensors, name)
    return Renamed(makers)


def _join(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """Return the weights of query, key and value one below another."""
    return torch.cat([tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")])


def without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> Mapping[str, Tensor]:
    """Return the weights whose names begin with a prefix, without it."""
    names = [name for name in tensors if name.startswith(prefix)]
    return Renamed({name.removeprefix(prefix): partial(tensors.__getitem__, name) for name in names})
