"""The bundle `icons`: its networks, one file each, and what its bundle.json says."""

from collections.abc import Callable
from pathlib import Path

from export.dual_encoder import image_network, text_network
from export.icons import denoiser, latent_decoder, latent_encoder, text_encoder
from export.icons.weights import Weights
from export.network import ExportedNetwork
from export.write.bundle import read_present, write_bundle
from export.write.network import network_files
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from train.data.captions import HOUSE, STYLES
from train.latent_diffusion.text import LENGTH
from train.latent_diffusion.unet import SCHEDULE

VERSION = "1"
"""Version of the bundle's content."""

PROVENANCE = (
    "Trained from scratch by the programs in train/ of this package on the icon sets that ATTRIBUTION.md names; the "
    "text encoder is all-MiniLM-L6-v2, quantized."
)

NETWORKS: dict[str, Callable[[Weights], ExportedNetwork]] = {
    "text_encoder": text_encoder.make_network,
    "denoiser": denoiser.make_network,
    "latent_encoder": latent_encoder.make_network,
    "latent_decoder": latent_decoder.make_network,
    "image_embedder": lambda weights: image_network(weights.dual, weights.images()),
    "text_embedder": lambda weights: text_network(weights.dual, weights.context()),
}
"""What makes the network of each role."""


def make_manifest(weights: Weights) -> DiffusionManifest:
    """Return what bundle.json says, but for the networks and hashes."""
    return DiffusionManifest(
        name="icons",
        version=VERSION,
        licence="Apache-2.0",
        provenance=PROVENANCE,
        schedule=SCHEDULE,
        latent_scale=weights.latent_scale,
        latent_shape=(4, 16, 16),
        image_size=128,
        text_length=LENGTH,
        prompt_suffix=f", {STYLES[HOUSE]}",
    )


def write_icons(weights: Weights, folder: Path, report: Callable[[str], None]) -> dict[str, ExportedNetwork]:
    """Write the bundle and return the networks that it was made of.

    Args:
        weights: trained networks.
        folder: where; a bundle that is there is replaced.
        report: called with a line before each network.

    Raises:
        UserError: the folder holds something else.
    """
    read_present(folder)  # refuse before anything is computed
    networks, files = {}, {}
    for role, make in NETWORKS.items():
        report(f"exporting {role}")
        networks[role] = make(weights)
        files[role] = network_files(networks[role])
    attribution = Path(__file__).with_name("ATTRIBUTION.md").read_bytes()
    write_bundle(folder, make_manifest(weights), files, {"ATTRIBUTION.md": attribution})
    return networks
