r"""Redraw icons by the trained denoiser, so that the dual encoder learns from pictures like those that it will rank.

    python -m train.clip.redraw --prepared checkpoints/denoiser --autoencoder checkpoints/autoencoder \
        --out checkpoints/redrawn

A latent is noised up to a random t and sampled from there under its own caption (SDEdit, arXiv:2108.01073): it still
shows what its caption says, with the softness and the slips of a sample. A cut run goes on at its next batch.
"""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from jaxtyping import Float, Int64
from safetensors.torch import load_file, save
from torch import Tensor

from runtime.engines.protocols import Denoiser
from runtime.files import replace_file
from runtime.guidance.sampler import dpm_solver, times
from runtime.guidance.schedule import Schedule
from runtime.guidance.sds import Prompt, guided_noise
from train.latent_diffusion.denoiser import load_autoencoder
from train.latent_diffusion.unet import SCHEDULE, IconDenoiser

STEPS = 20
"""Times of a whole sampling, of which a redrawing takes the last."""
FIRST = (3, 12)
"""Bounds of the first of them, the second left out: t from 876 down to 285."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How many pictures are redrawn, and from what."""

    prepared: Path
    """Run folder of train.latent_diffusion.denoiser: its latents, its captions, its weights."""
    autoencoder: Path
    """Run folder of train.latent_diffusion.autoencoder."""
    out: Path
    """Folder of the batches that are written."""
    count: int = 8192
    """Pictures, rounded up to whole batches."""
    batch: int = 64
    """Pictures a file, at least 1."""
    omega: float = 3.0
    """Weight of guidance, as of the samples that are ranked."""
    seed: int = 0
    """Seed of every draw."""
    device: str = "cpu"
    """PyTorch device."""


@torch.no_grad()
def redraw(
    network: Denoiser,
    latents: Float[Tensor, "B C h w"],
    prompt: Prompt,
    config: Config,
    draws: torch.Generator,
) -> Float[Tensor, "B C h w"]:
    """Return latents (B, 4, 16, 16) that are noised up to one random t and sampled from there.

    Args:
        network: the denoiser.
        latents: (B, 4, 16, 16), scaled.
        prompt: the latents' captions.
        config: omega and the device.
        draws: of t and of the noise.
    """
    schedule = Schedule.of(SCHEDULE)
    visited = times(schedule, STEPS)[int(torch.randint(*FIRST, (), generator=draws)) :]
    noise = torch.randn(latents.shape, generator=draws)
    start = schedule.diffuse(latents, noise, torch.full((len(latents),), visited[0])).to(config.device)

    def denoise(
        z: Float[Tensor, "B C h w"], t: Int64[Tensor, " B"], context: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B C h w"]:
        return network(z, t, context).float()

    def predict(z: Float[Tensor, "B C h w"], t: int) -> Float[Tensor, "B C h w"]:
        return guided_noise(denoise, z, torch.full((len(z),), t, device=z.device), prompt, config.omega)

    with torch.autocast(torch.device(config.device).type, torch.bfloat16):
        return dpm_solver(predict, start, schedule, visited)


def main() -> None:
    """Redraw from a command line."""
    config = tyro.cli(Config, description=__doc__)
    network = IconDenoiser()
    network.load_state_dict(load_file(config.prepared / "ema.safetensors"))
    network.eval().to(config.device)
    autoencoder = load_autoencoder(config.autoencoder).to(config.device)
    data = load_file(config.prepared / "prepared.safetensors")
    batches = -(-config.count // config.batch)
    for index in range(batches):
        path = config.out / f"{index:05d}.safetensors"
        if path.is_file():
            continue
        started = time.monotonic()
        digest = hashlib.sha256(f"{config.seed} {index}".encode()).digest()
        draws = torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))
        picked = torch.multinomial(data["weights"], config.batch, replacement=True, generator=draws)
        column = torch.randint(data["rows"].shape[1], (config.batch,), generator=draws)
        captions = data["rows"][picked, column]
        contexts, empty = data["contexts"][captions], data["contexts"][:1]
        prompt = Prompt(contexts.float().to(config.device), empty.float().to(config.device))
        latents = redraw(network, data["latents"][picked], prompt, config, draws)
        with torch.no_grad(), torch.autocast(torch.device(config.device).type, torch.bfloat16):
            pictures = autoencoder.decode(latents / data["latent_scale"].to(latents.device)).float().clamp(0, 1)
        pictures = (255.0 * pictures).round().byte().cpu().contiguous()
        config.out.mkdir(parents=True, exist_ok=True)
        replace_file(path, save({"pictures": pictures, "rows": picked, "captions": captions}))
        print(f"batch {index + 1}/{batches}  {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
