"""Train the denoiser of a bundle on with a camera: a teacher for text to 3D.

    python -m train.latent_diffusion.objects --data objects --out prepared/objects
    python -m train.latent_diffusion.replay --data data/icons.npz --out prepared/icons
    torchrun --nproc-per-node 2 -m -- train.latent_diffusion.teacher --objects prepared/objects --icons prepared/icons \
        --out checkpoints/teacher --start train/weights/teacher

Half of each batch are views of objects with their cameras, a few without; half are icons, of which a third have a
front camera, so that what is no object of the set is not forgotten where there is a camera. Times are mostly high,
where the side from which a thing is seen is decided. The loss is that of `train.latent_diffusion.denoiser`.
The run folder's `ema.safetensors` is measured and kept by `train.latent_diffusion.keep`.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from runtime.command.options import parse_options
from runtime.command.ranges import Amount, Count, LearningRate, Seed, Share, Whole
from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import run_main
from runtime.guidance.schedule import Schedule
from train.checkpoint import NAME as CHECKPOINT
from train.checkpoint import refuse_foreign
from train.fit import FitConfig, LossOfStep, fit
from train.latent_diffusion.camera import CameraDenoiser
from train.latent_diffusion.camera_weights import load_weights, make_denoiser, read_stored
from train.latent_diffusion.held_out import noised
from train.latent_diffusion.prepared import Examples, Icons, ObjectViews
from train.latent_diffusion.unet import SCHEDULE
from train.norm import to_channels_last
from train.outputs import Outputs

FACTORS = (("camera.", 4.0), (".attn2.", 1.0), ("base.", 0.5))
"""Factors on the learning rate: the token's layers, the attention that reads it, and the rest."""

RUN = "run.json"
"""File of the run folder: images a step, and images that the start has seen."""

HIGH_TIMES = 300
"""Most times are at least this."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to train the teacher."""

    objects: Path
    """Folder of train.latent_diffusion.objects."""
    icons: Path
    """Folder of train.latent_diffusion.replay."""
    out: Path
    """Run folder; an existing checkpoint in it is resumed."""
    bundle: str = "icons"
    """Bundle whose denoiser is trained on: its name, or a folder."""
    start: Path | None = None
    """Folder of weights to start from; none starts from the bundle's denoiser, without a camera."""
    steps: Count = 31250
    """Optimizer steps."""
    batch: Count = 24
    """Latents a step and process, even: half are objects', half icons'."""
    lr: LearningRate = 6e-4
    """Peak learning rate of the cross-attention."""
    warmup: Whole = 100
    """Steps of linear warm-up."""
    ema: Share = 0.998
    """Decay of the moving average of the weights."""
    dropout: Share = 0.1
    """Share of examples whose caption is dropped."""
    camera_dropout: Share = 0.05
    """Share of views whose camera is dropped."""
    high: Share = 0.7
    """Share of examples whose time is drawn from the high ones only, in [0, 1]."""
    minutes: Amount = 3.0
    """Minutes between checkpoints."""
    seed: Seed = 0
    """Seed of the token's initialization and of the draws."""
    exchange: Count = 8
    """Steps between the exchanges of several processes under torchrun."""
    bf16: bool = False
    """Run the network in bfloat16: faster on a GPU, or on a CPU that has it; far slower on others."""
    device: str = "cpu"
    """PyTorch device."""


def drop(
    examples: Examples, empty: Float[Tensor, "N D"], config: Config, generator: torch.Generator
) -> tuple[Float[Tensor, "B N D"], Bool[Tensor, " B"]]:
    """Return the contexts, some of them the empty text's, and which examples still have a camera.

    Cameras are dropped of objects only, the first half of the batch: icons often have none.

    Args:
        examples: objects, then as many icons.
        empty: context of the empty text.
        config: the shares.
        generator: source of the draws.
    """
    count = len(examples.present)
    device = generator.device
    draws = torch.rand((2, count), generator=generator, device=device)
    contexts = torch.where((draws[0] < config.dropout)[:, None, None], empty, examples.contexts)
    lost = (draws[1] < config.camera_dropout) & (torch.arange(count, device=device) < count // 2)
    return contexts, examples.present & ~lost


def draw_times(count: int, high: float, generator: torch.Generator) -> Int64[Tensor, " {count}"]:
    """Return drawn times in [0, 1000), of which a share `high` is drawn from the high ones only."""
    total = SCHEDULE["num_timesteps"]
    t = torch.randint(total, (count,), generator=generator, device=generator.device)
    shifted = HIGH_TIMES + t * (total - HIGH_TIMES) // total
    return torch.where(torch.rand(count, generator=generator, device=generator.device) < high, shifted, t)


def make_loss(config: Config, objects: ObjectViews, icons: Icons) -> LossOfStep[CameraDenoiser]:
    """Return the loss of a step of training; its draws are made where its generator and the data are."""
    schedule = Schedule.of(SCHEDULE)
    snr = (schedule.alphas / schedule.sigmas).square()
    weight_of_t = (snr.clamp(max=5.0) / snr).to(config.device)
    empty = icons.contexts[0].float()

    def loss_of_step(network: CameraDenoiser, generator: torch.Generator) -> Float[Tensor, ""]:
        examples = objects.draw(config.batch // 2, generator) + icons.draw(config.batch // 2, generator)
        contexts, present = drop(examples, empty, config, generator)
        t = draw_times(config.batch, config.high, generator)
        noise = torch.randn(examples.latents.shape, generator=generator, device=generator.device)
        inputs = (noised(examples, t, noise), t, contexts, examples.cameras, present, noise)
        sample, t, contexts, cameras, present, noise = (tensor.to(config.device) for tensor in inputs)
        predicted = network(sample, t, contexts, cameras, present).float()
        return (weight_of_t[t] * (predicted - noise).square().mean((1, 2, 3))).mean()

    return loss_of_step


def main() -> None:
    """Train from a command line."""
    config = parse_options(Config, "train.latent_diffusion.teacher", description=__doc__)
    # First what takes no time: with a wrong folder nobody waits until a bundle is hashed and its denoiser made.
    if config.start is not None:
        read_stored(config.start)
    objects, icons = ObjectViews.load(config.objects), Icons.load(config.icons)
    bundle = DiffusionBundle.load(config.bundle, threads=1)
    torch.manual_seed(config.seed)
    network = make_denoiser(bundle)
    facts = load_weights(config.start, network, bundle) if config.start is not None else {}
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    run = {"images_a_step": processes * config.batch, "images_before": facts.get("images", 0)}
    if int(os.environ.get("RANK", "0")) == 0:
        refuse_foreign(config.out)
        # Beside a checkpoint it is the run's, whose earlier versions had no record.
        force = (config.out / CHECKPOINT).is_file()
        Outputs(config.out, "train.latent_diffusion.teacher", (RUN,), force=force).write(RUN, json.dumps(run))
    fit(
        to_channels_last(network),
        make_loss(config, objects, icons),
        FitConfig(
            out=config.out,
            steps=config.steps,
            lr=config.lr,
            factors=FACTORS,
            warmup=config.warmup,
            ema=config.ema,
            seed=config.seed,
            exchange=config.exchange,
            minutes=config.minutes,
            device=config.device,
            bf16=config.bf16,
        ),
        lambda line: print(line, flush=True),
    )


if __name__ == "__main__":
    run_main(main)
