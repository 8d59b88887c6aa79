"""A step of Dream Fields: the loop that ships at the thesis' sizes, guided by CLIP ViT-B/16 with random weights."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.cases.denoisers import converted
from benchmarks.gpu.cases.svg import encoding
from benchmarks.gpu.clock import Row, wait
from benchmarks.gpu.graphs import graphed_encoder
from benchmarks.gpu.networks import draw_stage, make_tower, random
from benchmarks.gpu.run import Setting
from runtime.dreamfields import METHOD
from runtime.dreamfields.config import preset_config
from runtime.dreamfields.stages import build


@dataclass(frozen=True)
class Networks:
    """What Dream Fields asks of a bundle."""

    embedder_size: int
    """Side of the pictures that the encoder takes."""
    encode: Callable[[Tensor], Tensor]
    """The image encoder."""
    text: Tensor
    """Vector of the prompt, of unit norm."""
    device: str
    """Where the field's network is trained."""

    def guide(self, text: str, gradients: str = "torch") -> Callable[[Tensor], Tensor]:
        """Return the cosines of pictures with the prompt."""
        return lambda images: nn.functional.normalize(self.encode(images), dim=-1) @ self.text


def measure(setting: Setting, case: str) -> Iterator[Row]:
    """Yield milliseconds of a step with the encoder as it is, and as a CUDA graph."""
    tower, side = make_tower("ViT-B-16", setting)
    tower = converted(tower, torch.float32, last=True)
    config = replace(preset_config("thesis", "mlp"), prompt="a chair")
    if setting.tiny:
        config = replace(config, samples=4, render=8, wide=16, width=16, crops=1)
    images = random(setting, 5, config.views * config.crops, 3, side, side, uniform=True)
    with torch.no_grad():
        width = tower(images[:1]).shape[-1]
    text = nn.functional.normalize(random(setting, 6, width).cpu(), dim=-1)
    # draws come from the CPU and pictures go back there: see `ResidualField`
    plain = Networks(side, encoding(tower, setting.device), text, setting.device)
    ways = {"encoder as it is": lambda: plain}
    if setting.device != "cpu":

        def graphed() -> Networks:
            encode = graphed_encoder(tower, images)
            return replace(plain, encode=lambda pictures: encode(pictures.to(setting.device)).cpu())

        ways["encoder as a CUDA graph"] = graphed
    name = f"Dream Fields, {config.render} px, {config.samples} samples, {len(images)} crops, {config.field}"
    for way, make in ways.items():
        row: Row = {"case": name, "way": way}
        try:
            row |= steps(config, make(), setting)
        except Exception as error:  # any: the row says why
            row["failed"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        yield row


def steps(config: Any, networks: Networks, setting: Setting) -> Row:
    """Return milliseconds of a step, after some that warm up."""
    (stage,) = build(config, networks, torch.Generator().manual_seed(0))  # pyright: ignore
    few, many = (1, 2) if setting.tiny else (2, 8)
    seconds = []
    for count in (few, many):
        begun = time.perf_counter()
        draw_stage(METHOD, config, replace(stage, steps=count, snapshots=0))
        wait(setting.device)
        seconds.append(time.perf_counter() - begun)
    return {"ms": 1e3 * seconds[1] / many, "first_seconds": seconds[0]}
