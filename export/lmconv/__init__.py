"""The bundle of a trained LMConv network: prefill and step with one file of weights, and what bundle.json says."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from export.cut import Cut
from export.graph.compact import compact
from export.graph.shared import share_weights
from export.graph.trace import export_onnx
from export.lmconv.networks import make_cuts, traced_samples
from export.lmconv.walk import traced_plainly
from export.write.bundle import NetworkFiles, write_bundle
from runtime.engines.bundle.lmconv_manifest import LMConvManifest
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


def export_networks(cuts: dict[str, Cut], report: Callable[[str], None]) -> tuple[dict[str, NetworkFiles], bytes]:
    """Return the files of both networks, and the content of the file of weights that they share."""
    models = {}
    for role, cut in cuts.items():
        report(f"exporting {role}")
        with traced_plainly():
            model = export_onnx(cut.module, cut.spec, traced_samples(cut))
        models[role] = compact(model, cut.scheme)
    models, weights = share_weights(models, WEIGHTS)
    contents = {role: model.SerializeToString(deterministic=True) for role, model in models.items()}
    files = {role: NetworkFiles(cuts[role].spec, {"model.onnx": content}) for role, content in contents.items()}
    return files, weights


def write_lmconv(
    network: LocallyMaskedPixelCNN,
    run: RunConfig,
    folder: Path,
    report: Callable[[str], None],
    *,
    scheme: str = "float16",
    licence: str = "Apache-2.0",
) -> dict[str, Cut]:
    """Write the bundle and return the cuts that it was made of.

    Args:
        network: trained.
        run: what it was trained on.
        folder: where; what is there is replaced, and its name is the bundle's.
        report: called with a line before each network.
        scheme: how the weights are stored, one of `export.graph.compact.SCHEMES`.
        licence: SPDX expression of the weights' licence.
    """
    cuts = make_cuts(network, run.size, scheme)
    networks, weights = export_networks(cuts, report)
    write_bundle(folder, make_manifest(run, folder.resolve().name, licence), networks, {WEIGHTS: weights})
    return cuts
