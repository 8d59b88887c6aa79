"""A method to test the frame with: a solid colour is fitted to the latents of another one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor, nn

from runtime.command.method import Method
from runtime.command.run import main_of
from runtime.loop.optimize import Stage
from runtime.loop.scene import Scene
from runtime.pictures import write_png


@dataclass(frozen=True, kw_only=True)
class Config:
    """Paint a solid colour whose latents are those of a grey."""

    grey: Annotated[float, Interval(ge=0, le=1)] = 0.5
    out: Path | None = None
    bundle: str = "icons"
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    steps: Annotated[int, Interval(ge=1, le=1000)] = 12


class Colour(Scene):
    def __init__(self, colour: Tensor) -> None:
        super().__init__()
        self.colour = nn.Parameter(colour.clone())

    def render(self, side: int) -> Tensor:
        return self.colour.sigmoid()[None, :, None, None].expand(1, 3, side, side)


def build(config, bundle, generator, *, run, report) -> list[Stage]:
    encode = bundle.latent_encoder()
    aim = encode(torch.full((1, 3, bundle.image_size, bundle.image_size), config.grey)).detach()
    return [
        Stage(
            name="paint",
            steps=config.steps,
            begin=lambda before, generator: Colour(torch.randn(3, generator=generator)),
            restore=Colour.from_state,
            optimizer=lambda scene: torch.optim.Adam([scene.colour], lr=0.1),
            loss=lambda scene, step, generator: {"far": (encode(scene.render(128)) - aim).square().mean()},
        )
    ]


def write(config, bundle, scene: Colour, out: Path) -> list[Path]:
    write_png(out, scene.render(8)[0].detach())
    return [out]


METHOD = Method(name="toy", config=Config, kind="latent-diffusion", build=build, write=write)
main = main_of(METHOD)
