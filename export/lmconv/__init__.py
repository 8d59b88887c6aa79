"""The bundle of a trained LMConv network: prefill and step with one file of weights, and what bundle.json says."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from export.graph.external_weights import externalize_weights
from export.graph.quantize import quantize
from export.graph.trace import export_onnx
from export.lmconv.networks import make_networks, traced_samples
from export.network import ExportedNetwork
from export.write.bundle import read_present, write_bundle
from export.write.network import NetworkFiles
from runtime.engines.bundle.lmconv_manifest import LMConvManifest
from runtime.engines.precision import Storage
from runtime.engines.spec import WEIGHTS
from train.lmconv.network import LocallyMaskedPixelCNN
from train.lmconv.runs import RunConfig

VERSION = "1"
"""Version of the bundle's content."""

PROVENANCE = "Trained from scratch by train.lmconv of this package on {data} (binarization: {binarization})."


def make_manifest(run: RunConfig, name: str, licence: str) -> LMConvManifest:
    """Return what bundle.json says, but for the networks and hashes."""
    architecture = asdict(run.architecture)
    pixels = {key: architecture.pop(key) for key in ("channels", "levels", "mixtures")}
    return LMConvManifest(
        name=name,
        version=VERSION,
        licence=licence,
        provenance=PROVENANCE.format(data=run.data, binarization=run.binarization),
        data=run.data,
        orders=run.orders,
        size=run.size,
        architecture=architecture,
        **pixels,
    )


def export_networks(
    networks: Mapping[str, ExportedNetwork], report: Callable[[str], None]
) -> tuple[dict[str, NetworkFiles], bytes]:
    """Return the files of both networks, and the content of the file of weights that they have in common."""
    models = {}
    for role, network in networks.items():
        report(f"exporting {role}")
        models[role] = quantize(export_onnx(network.module, network.spec, traced_samples(network)), network.storage)
    models, weights = externalize_weights(models, WEIGHTS)
    contents = {role: model.SerializeToString(deterministic=True) for role, model in models.items()}
    files = {role: NetworkFiles(networks[role].spec, {"model.onnx": content}) for role, content in contents.items()}
    return files, weights


def write_lmconv(
    network: LocallyMaskedPixelCNN,
    run: RunConfig,
    folder: Path,
    report: Callable[[str], None],
    *,
    storage: Storage = Storage.FLOAT16,
    licence: str = "Apache-2.0",
) -> dict[str, ExportedNetwork]:
    """Write the bundle and return the networks that it was made of.

    Args:
        network: trained.
        run: what it was trained on.
        folder: where; a bundle that is there is replaced, and its name is the bundle's.
        report: called with a line before each network.
        storage: of the weights.
        licence: SPDX expression of the weights' licence.

    Raises:
        UserError: the folder holds something else.
    """
    read_present(folder)  # refuse before anything is computed
    networks = make_networks(network, run.size, storage)
    files, weights = export_networks(networks, report)
    write_bundle(folder, make_manifest(run, folder.resolve().name, licence), files, weights=weights)
    return networks
