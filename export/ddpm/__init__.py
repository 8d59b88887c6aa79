"""The bundle of a diffusion model of pixels: its one network, and what bundle.json says."""

from collections.abc import Callable
from pathlib import Path

import torch

from export.ddpm.merged import merge
from export.ddpm.source import Source
from export.network import ExportedNetwork, batched
from export.samples import dead_leaves, noised
from export.write.bundle import read_present, write_bundle
from export.write.network import network_files
from runtime.engines.bundle.ddpm_manifest import DdpmManifest
from runtime.engines.precision import Storage
from runtime.guidance.schedule import Schedule

VERSION = "1"
"""Version of the bundle's content."""

SAMPLES = 8
"""Pictures of a verification."""


def make_networks(source: Source, storage: Storage = Storage.INT8) -> dict[str, ExportedNetwork]:
    """Return the exported network by its role, with pictures noised to times over the whole schedule.

    Args:
        source: the trained network.
        storage: of the weights.
    """
    a, generator = source.architecture, torch.Generator().manual_seed(0)
    pictures = 2.0 * dead_leaves(SAMPLES, a.size, generator)[:, : a.channels] - 1.0
    shape = (a.channels, a.size, a.size)
    network = ExportedNetwork(
        spec=batched("denoiser", {"sample": shape, "timestep": ("int64",)}, {"prediction": shape}),
        module=merge(source.network),
        samples=noised(pictures, Schedule.of(source.schedule), generator),
        storage=storage,
    )
    return {"denoiser": network}


def make_manifest(source: Source, name: str, licence: str) -> DdpmManifest:
    """Return what bundle.json says, but for the networks and hashes."""
    return DdpmManifest(
        name=name,
        version=VERSION,
        licence=licence,
        provenance=source.provenance,
        data=source.data,
        schedule=dict(source.schedule),
        variance=source.variance,
        channels=source.architecture.channels,
        image_size=source.architecture.size,
    )


def write_ddpm(
    source: Source,
    folder: Path,
    report: Callable[[str], None],
    *,
    storage: Storage = Storage.INT8,
    licence: str = "Apache-2.0",
) -> dict[str, ExportedNetwork]:
    """Write the bundle and return the networks that it was made of.

    Args:
        source: the trained network.
        folder: where; a bundle that is there is replaced, and its name is the bundle's.
        report: called with a line before each network.
        storage: of the weights.
        licence: SPDX expression of the weights' licence.

    Raises:
        UserError: the folder holds something else.
    """
    read_present(folder)  # refuse before anything is computed
    networks = make_networks(source, storage)
    report("exporting denoiser")
    files = {role: network_files(network) for role, network in networks.items()}
    texts = {} if source.attribution is None else {"ATTRIBUTION.md": source.attribution}
    write_bundle(folder, make_manifest(source, folder.resolve().name, licence), files, texts)
    return networks
