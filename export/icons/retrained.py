"""The bundle `icons` with one network trained further: all else is copied from the bundle it was trained on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from export.icons.denoiser import export_denoiser
from export.icons.latent_decoder import export_decoder
from export.network import ExportedNetwork
from export.samples import Drawn
from export.write.bundle import read_present, write_bundle
from export.write.network import copied_network, network_files
from runtime.engines.bundle import DiffusionBundle
from runtime.errors import UserError
from train.data.archive import read_tensors
from train.latent_diffusion.restore import restore_autoencoder
from train.latent_diffusion.unet import IconDenoiser

_TRAINING = "autoencoder."
"""What the names of the decoder begin with where it was trained beside its discriminator."""

_DECODER = ("vae.decoder.", "vae.post_quant_conv.")


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """A network trained further, and the bundle that it is of."""

    role: str
    """denoiser or latent_decoder."""
    network: nn.Module
    """An `IconDenoiser`, or an `IconAutoencoder` whose decoder was trained."""
    base: DiffusionBundle
    """The bundle that has its other networks."""


def load_retrained(run: Path, base: str) -> Retrained:
    """Return the network of a run folder: of `train.further`, `train.latent_diffusion.denoiser` or `.decoder`.

    Args:
        run: the folder.
        base: bundle that was trained on.

    Raises:
        UserError: the folder has no averaged weights, or those of another network.
    """
    path = run / "ema.safetensors"
    remedy = "give the --out folder of python -m train.further, of a denoiser or decoder"
    weights = read_tensors(path, (), remedy)
    bundle = DiffusionBundle.load(base)
    if any(name.startswith("unet.") for name in weights):
        role, network = "denoiser", IconDenoiser()
    else:
        role, network = "latent_decoder", restore_autoencoder(bundle)
        # The encoder stays the bundle's: its latents are what the denoiser knows.
        weights = {name.removeprefix(_TRAINING): weight for name, weight in weights.items()}
        trained = {name: weight for name, weight in weights.items() if name.startswith(_DECODER)}
        if not trained:
            raise UserError(f"'{path}': expected a denoiser or a decoder, got neither; {remedy}")
        weights = {**network.state_dict(), **trained}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"'{path}': {' '.join(str(error).split()):.200}; {remedy}") from None
    return Retrained(role=role, network=network.eval().requires_grad_(False), base=bundle)


def make_network(retrained: Retrained) -> ExportedNetwork:
    """Return the exported network; it is verified on latents that the base draws."""
    drawn = Drawn.by(retrained.base)
    if retrained.role == "denoiser":
        return export_denoiser(retrained.network, drawn.latents, drawn.prompt.context)
    return export_decoder(retrained.network, retrained.base.latent_scale, drawn.latents)


def write_retrained(retrained: Retrained, folder: Path, report: Callable[[str], None]) -> dict[str, ExportedNetwork]:
    """Write the bundle and return the network that was trained.

    Args:
        retrained: the network and its base.
        folder: where, the base's own folder included; a bundle that is there is replaced.
        report: called with a line before each network.

    Raises:
        UserError: the folder holds something else.
    """
    read_present(folder)  # refuse before anything is computed
    base = retrained.base
    report(f"exporting {retrained.role}")
    network = make_network(retrained)
    files = {role: copied_network(base, role) for role in base.specs}
    files[retrained.role] = network_files(network)
    texts = {name: (base.folder / name).read_bytes() for name in base.manifest.files if name.endswith(".md")}
    write_bundle(folder, replace(base.manifest, networks={}, files={}), files, texts)
    return {retrained.role: network}
