r"""Train the icon decoder on, against a discriminator, until its pictures are as crisp as icons.

    python -m train.latent_diffusion.decoder --data data/icons.npz --prepared checkpoints/denoiser \
        --autoencoder checkpoints/soft --out checkpoints/autoencoder

Sixteen latent cells a side cannot hold every edge, and the mean or median of all pictures that they could stand for is
soft. A discriminator of patches, with the distance of its features, asks for one of those pictures instead
(arXiv:2012.09841, section 3.1). The encoder, and so the latents and the denoiser, stay as they are; latents are a
little noisy, as sampled ones are. The run folder is an autoencoder's, for the export in place of the first.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.command.options import parse_options
from runtime.command.ranges import Amount, Count, LearningRate
from runtime.errors import run_main
from runtime.files import replace_file
from train.data.archive import read_pictures, read_tensors, to_images
from train.fit import fit
from train.latent_diffusion.autoencoder import UNSHUFFLE, IconAutoencoder, load, reconstruction_loss
from train.norm import to_channels_last
from train.options import TrainOptions

MATCHING = 10.0
"""Weight of the distance of features beside the discriminator's judgement (arXiv:1711.11585, Eq. 5)."""


@dataclass(frozen=True, kw_only=True)
class Config(TrainOptions):
    """How to train the decoder on."""

    data: Path
    """Archive of train.data.icons."""
    prepared: Path
    """Run folder of train.latent_diffusion.denoiser, for the latents and the weights of the pictures."""
    autoencoder: Path
    """Run folder of the autoencoder whose decoder is trained on."""
    steps: Count = 6000
    batch: Count = 16
    """Pictures a step."""
    lr: LearningRate = 4e-4
    """Peak learning rate, of the decoder and of the discriminator."""
    edges: Amount = 1.0
    """Weight of the L1 difference of image gradients."""
    crisp: Amount = 0.7
    """Norm of the discriminator's gradient by the picture, over that of the reconstruction's; 0 leaves it out."""
    noise: Amount = 0.12
    """Greatest deviation of the noise on latents, whose own is 1."""


class Discriminator(nn.Module):
    """Tells patches of about 50 pixels of icons from patches of decoded pictures."""

    def __init__(self, channels: int = 64) -> None:
        """Make the network with the default initialization."""
        super().__init__()
        widths, strides = (channels, 2 * channels, 2 * channels), (1, 2, 1)
        taken = 3 * UNSHUFFLE**2
        self.levels = nn.ModuleList()
        for width, stride in zip(widths, strides, strict=True):
            self.levels.append(
                nn.Sequential(
                    nn.Conv2d(taken, width, 3, stride=stride, padding=1),
                    nn.GroupNorm(16, width),
                    nn.LeakyReLU(0.2),
                )
            )
            taken = width
        self.logits = nn.Conv2d(taken, 1, 1)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return the features of each level, and last a logit for each patch of RGB in [0, 1]."""
        features = [F.pixel_unshuffle(2.0 * images - 1.0, UNSHUFFLE)]
        for level in self.levels:
            features.append(level(features[-1]))
        return [*features[1:], self.logits(features[-1])]


class Training(nn.Module):
    """What is trained together: the decoder of an autoencoder, and its discriminator."""

    def __init__(self, autoencoder: IconAutoencoder) -> None:
        """Freeze all of the autoencoder but its decoder."""
        super().__init__()
        self.autoencoder, self.discriminator = autoencoder, Discriminator()
        autoencoder.vae.encoder.requires_grad_(False)
        autoencoder.vae.quant_conv.requires_grad_(False)


def crisp_loss(
    training: Training,
    latents: Float[Tensor, "B 4 h w"],
    images: Float[Tensor, "B 3 H W"],
    *,
    edges: float,
    crisp: float,
) -> Float[Tensor, ""]:
    """Return a scalar with the gradients of both: the decoder's by its own loss, the discriminator's by the hinge.

    The decoder's is the reconstruction's plus the discriminator's, which is scaled by the picture to `crisp` times the
    norm of the former. The value is the reconstruction loss plus the hinge.

    Args:
        training: the networks.
        latents: the autoencoder's own, not scaled.
        images: RGB in [0, 1], what they stand for.
        edges: weight of the differences of image gradients.
        crisp: weight of the discriminator, at least 0.
    """
    output = training.autoencoder.decode(latents).float()
    loss = reconstruction_loss(images, output, edges)
    if crisp == 0.0:
        return loss
    picture = output.detach().requires_grad_()
    real, drawn = training.discriminator(images), training.discriminator(picture)
    apart = sum(((a - b.detach()).float().abs().mean() for a, b in zip(drawn[:-1], real[:-1], strict=True)), 0.0)
    deceived = MATCHING * apart - drawn[-1].float().mean()
    adversarial = torch.autograd.grad(deceived, picture, retain_graph=True)[0]
    own = torch.autograd.grad(loss, output, retain_graph=True)[0]
    scale = crisp * own.norm() / adversarial.norm().clamp_min(1e-12)
    # Its value cancels below and leaves its gradient, which reaches the decoder and not the discriminator.
    adversarial_term = (output * (scale * adversarial)).sum()
    hinge = F.relu(1.0 - real[-1].float()).mean() + F.relu(1.0 + drawn[-1].float()).mean()
    return loss + adversarial_term - adversarial_term.detach() + hinge


def main() -> None:
    """Train from a command line."""
    config = parse_options(Config, "train.latent_diffusion.decoder", description=__doc__)
    pictures = read_pictures(config.data)
    names = ("latents", "latent_scale", "weights")
    remedy = "give the --out folder of python -m train.latent_diffusion.denoiser"
    prepared = read_tensors(config.prepared / "prepared.safetensors", names, remedy)
    latents, scale, weights = (prepared[name] for name in names)
    torch.manual_seed(config.seed)
    training = to_channels_last(Training(load(config.autoencoder)))

    def loss_of_step(training: Training, generator: torch.Generator) -> Float[Tensor, ""]:
        rows = torch.multinomial(weights, config.batch, replacement=True, generator=generator)
        noise = torch.randn((config.batch, *latents.shape[1:]), generator=generator)
        level = config.noise * torch.rand((config.batch, 1, 1, 1), generator=generator)
        noisy = ((latents[rows] + level * noise) / scale).to(config.device)
        images = to_images(pictures[rows]).to(config.device)
        return crisp_loss(training, noisy, images, edges=config.edges, crisp=config.crisp)

    fit(training, loss_of_step, config.fit_config(warmup=200), print)
    state = {name: value.contiguous() for name, value in training.autoencoder.state_dict().items()}
    replace_file(config.out / "ema.safetensors", save(state))


if __name__ == "__main__":
    run_main(main)
