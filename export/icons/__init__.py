"""The bundle `icons`: its networks, one file each, and what its bundle.json says."""

from collections.abc import Callable
from pathlib import Path

from export.cut import Cut, export_cut
from export.icons import (
    denoiser,
    image_embedder,
    latent_decoder,
    latent_encoder,
    text_embedder,
    text_encoder,
)
from export.icons.weights import Weights
from export.write.bundle import write_bundle
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

CUTS: dict[str, Callable[[Weights], Cut]] = {
    "text_encoder": text_encoder.cut,
    "denoiser": denoiser.cut,
    "latent_encoder": latent_encoder.cut,
    "latent_decoder": latent_decoder.cut,
    "image_embedder": image_embedder.cut,
    "text_embedder": text_embedder.cut,
}
"""The function that cuts out the network of each role."""


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


def write_icons(weights: Weights, folder: Path, report: Callable[[str], None]) -> dict[str, Cut]:
    """Write the bundle and return the cuts that it was made of.

    Args:
        weights: trained networks.
        folder: where; what is there is replaced.
        report: called with a line before each network.
    """
    cuts = {}
    networks = {}
    for role, cut in CUTS.items():
        report(f"exporting {role}")
        cuts[role] = cut(weights)
        networks[role] = export_cut(cuts[role])
    attribution = Path(__file__).with_name("ATTRIBUTION.md").read_bytes()
    write_bundle(folder, make_manifest(weights), networks, {"ATTRIBUTION.md": attribution})
    return cuts
