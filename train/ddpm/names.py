"""Weights of DDPM networks under other names: diffusers' older ones, and those of the official code's PyTorch port.

Our names are those of `diffusers.UNet2DModel` today. Checkpoints of the official TensorFlow code that were converted to
PyTorch have names such as "down.0.block.1.conv1.weight", and projections of attention as convolutions of one pixel.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from runtime.errors import UserError

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_PORTED_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_PORTED_BLOCK = {"temb_proj": "time_emb_proj", "nin_shortcut": "conv_shortcut"}
_TOP = {
    "temb.dense.0": "time_embedding.linear_1",
    "temb.dense.1": "time_embedding.linear_2",
    "norm_out": "conv_norm_out",
}
_PORTED = re.compile(r"(down|up)\.(\d+)\.(?:(block|attn)\.(\d+)|(downsample|upsample))\.(.+)")
_MIDDLE = re.compile(r"mid\.(?:block_(\d)|attn_1)\.(.+)")


def our_names(weights: Mapping[str, Tensor], levels: int) -> dict[str, Tensor]:
    """Return the weights under our names, and projections of attention as matrices.

    Args:
        weights: of a network with as many levels, under any of the names that are known.
        levels: of the network.

    Raises:
        UserError: two of them would have one name.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        ours = _our_name(name, levels)
        if ours in renamed:
            raise UserError(f"weights: expected one tensor for {ours}, got several ({name} is one)")
        is_projection = re.search(r"\.to_(q|k|v|out\.0)\.weight$", ours) is not None
        renamed[ours] = value.flatten(1) if is_projection and value.ndim > 2 else value
    return renamed


def _our_name(name: str, levels: int) -> str:
    """Return our name of a weight; one that is no other's is returned as it is."""
    for theirs, ours in _TOP.items():
        if name.startswith(f"{theirs}."):
            return ours + name.removeprefix(theirs)
    if match := _MIDDLE.fullmatch(name):
        block, rest = match.groups()
        if block:
            return f"mid_block.resnets.{int(block) - 1}.{_first(rest, _PORTED_BLOCK)}"
        return f"mid_block.attentions.0.{_first(rest, _PORTED_ATTENTION)}"
    if match := _PORTED.fullmatch(name):
        return _name_in_level(match, levels)
    head, _, last = name.rpartition(".")
    before, _, layer = head.rpartition(".")
    return f"{before}.{_OLD_ATTENTION[layer]}.{last}" if layer in _OLD_ATTENTION else name


def _name_in_level(match: re.Match[str], levels: int) -> str:
    """Return our name of a weight on the way down or up."""
    way, level, part, number, sampler, rest = match.groups()
    # The port counts levels from the highest resolution on the way up, too.
    place = int(level) if way == "down" else levels - 1 - int(level)
    room = f"{way}_blocks.{place}"
    if sampler:
        return f"{room}.{sampler}rs.0.{rest}"
    if part == "block":
        return f"{room}.resnets.{number}.{_first(rest, _PORTED_BLOCK)}"
    return f"{room}.attentions.{number}.{_first(rest, _PORTED_ATTENTION)}"


def _first(rest: str, names: Mapping[str, str]) -> str:
    """Return a name whose first part is replaced."""
    first, _, last = rest.partition(".")
    return f"{names.get(first, first)}.{last}"
