"""Runs, figures and sheets of the rows."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Interval
from jaxtyping import Bool, Float
from torch import Tensor

import benchmarks.dreamfields
from benchmarks.environment import describe_environment
from runtime.command.options import parse_options
from runtime.command.ranges import Seed
from runtime.errors import UserError
from runtime.files import replace_file

if TYPE_CHECKING:
    from runtime.dreamfields import Config as Dream
    from runtime.engines.bundle import DiffusionBundle

CAPTIONS = (
    "a red apple",
    "a mushroom",
    "a rocket",
    "a cactus",
    "a blue fish",
    "a robot",
    "a cat",
    "a car",
    "a chair",
    "a house",
    "a banana",
    "a tree",
    "a cup of coffee",
    "a yellow star",
    "a green frog",
    "a football",
)
"""Captions to choose from; the first are the prompts."""

ROWS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {},
    "mlp, no crops": {"crop": (1.0, 1.0)},
    "mlp, white background": {"background": "white"},
    "mlp, no sparsity": {"sparsity": "none"},
    "mlp, perturbed density": {"sparsity": "noise"},
    "mlp, beta prior": {"sparsity": "beta"},
    "mlp, gated": {"sparsity": "gated"},
    "mlp, clipped gate": {"sparsity": "clipped"},
    "mlp, NeRF's layers": {"network": "plain"},
    "mlp, no IPE": {"ipe": False},
    "mlp, waves along the axes": {"basis": "axes"},
    "mlp, no bounds": {"bounds": False},
    "mlp, no origin": {"track_origin": False},
    "mlp, signed distance": {"density": "volsdf"},
    "voxels": {"field": "voxels"},
    "voxels, no crops": {"field": "voxels", "crop": (1.0, 1.0)},
    "voxels, white background": {"field": "voxels", "background": "white"},
    "voxels, no sparsity": {"field": "voxels", "sparsity": "none"},
    "pixels": {"field": "pixels"},
}
"""Options that a row changes."""

TIMES = (250, 400, 550, 700)
"""Of 1000, at which the denoiser is asked."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    out: Path
    """Folder for a JSON and a sheet of each row and prompt."""
    rows: tuple[str, ...] = ()
    """Names of rows; by default all."""
    count: Annotated[int, Interval(ge=1, le=len(CAPTIONS))] = 4
    """Prompts, from the first."""
    bundle: str = "icons"
    """Frozen networks."""
    seed: Seed = 0
    steps: Annotated[int, Interval(ge=0, le=1_000_000)] = 0
    """Steps of each run; 0: the command's default."""


def options_of(config: Config, row: str, prompt: str) -> "Dream":
    """Return the options of a row's run."""
    from runtime.dreamfields import preset_config

    change = dict(ROWS[row])
    dream = preset_config("fast", change.pop("field", "mlp"))
    steps = config.steps or dream.steps
    rise = min(dream.tau_steps, steps // 2)
    return replace(dream, prompt=prompt, bundle=config.bundle, seed=config.seed, steps=steps, tau_steps=rise, **change)


@torch.no_grad()
def chosen_by_guide(bundle: "DiffusionBundle", pictures: Float[Tensor, "V 3 S S"], index: int) -> Bool[Tensor, " V"]:
    """Return for which pictures the dual encoder ranks a caption first."""
    return bundle.scorer()(pictures, list(CAPTIONS)).argmax(1) == index


@torch.no_grad()
def chosen_by_denoiser(bundle: "DiffusionBundle", pictures: Float[Tensor, "V 3 S S"], index: int) -> Bool[Tensor, " V"]:
    """Return for which pictures the denoiser predicts noise best with a caption; noise is the same for all of them."""
    from runtime.guidance.prompt import styled
    from runtime.guidance.schedule import Schedule

    encoder = bundle.text_encoder()
    contexts = encoder([styled(caption, bundle.prompt_suffix, encoder.fits) for caption in CAPTIONS])
    denoise, schedule = bundle.denoiser(), Schedule.of(bundle.schedule)
    latents = bundle.latent_encoder(gradients="none")(pictures)
    generator = torch.Generator().manual_seed(0)
    right = []
    for z in latents:
        errors = torch.zeros(len(CAPTIONS))
        for at in TIMES:
            noise = torch.randn(z[None].shape, generator=generator)
            t = torch.tensor([at * len(schedule) // 1000])
            noisy = schedule.diffuse(z[None], noise, t)
            several = noisy.expand(len(CAPTIONS), -1, -1, -1)
            # A network that predicts something else than noise is compared by what it predicts.
            predicted = denoise(several, t.expand(len(CAPTIONS)), contexts)
            errors += (predicted - schedule.target_of(z[None], noise, t)).square().mean((1, 2, 3))
        right.append(errors.argmin() == index)
    return torch.stack(right)


def measure(config: Config, bundle: "DiffusionBundle", row: str, prompt: str, stem: Path) -> dict[str, Any]:
    """Draw a row's object and return its figures; write its sheet."""
    from runtime.command.method import draw
    from runtime.dreamfields import METHOD
    from runtime.dreamfields.output import views_of
    from runtime.field.sheets import contact_sheet
    from runtime.pictures import write_png

    begun = time.process_time()
    scene = draw(METHOD, options_of(config, row, prompt), bundle)
    spent = time.process_time() - begun
    pictures = views_of(scene)
    write_png(stem.with_suffix(".png"), contact_sheet(list(pictures), 8))
    index = CAPTIONS.index(prompt)
    cosines = bundle.scorer()(pictures, [prompt])[:, 0]
    return {
        "row": row,
        "prompt": prompt,
        "seed": config.seed,
        "cosine": round(float(cosines.mean()), 3),
        "guide": round(float(chosen_by_guide(bundle, pictures, index).float().mean()), 3),
        "denoiser": round(float(chosen_by_denoiser(bundle, pictures, index).float().mean()), 3),
        "cpu_s": round(spent, 1),
    }


def main() -> None:
    """Measure all rows and prompts that the folder lacks, prompt by prompt, and print a JSON line for each."""
    from runtime.engines.bundle import DiffusionBundle

    config = parse_options(Config, "benchmarks.dreamfields", description=benchmarks.dreamfields.__doc__)
    rows = config.rows or tuple(ROWS)
    if unknown := sorted(set(rows) - set(ROWS)):
        raise UserError(f"--rows: expected some of {', '.join(map(repr, ROWS))}; got {unknown[0]!r}")
    print(describe_environment())
    bundle = DiffusionBundle.load(config.bundle)
    config.out.mkdir(parents=True, exist_ok=True)
    for prompt in CAPTIONS[: config.count]:
        for row in rows:
            name = f"{row} {prompt} {config.seed}".replace(",", "").replace("'", "").replace(" ", "-")
            file = config.out / f"{name}.json"
            if not file.is_file():
                replace_file(file, json.dumps(measure(config, bundle, row, prompt, config.out / name)) + "\n")
            print(file.read_text("utf-8").strip(), flush=True)
