"""The bundle of a camera-aware denoiser: what was trained is its own, all else is the bundle's that it was made of.

A file of the other bundle is named by that bundle, its path there and its hash. The denoiser's untrained weights are
read out of the other denoiser's model.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from export.dual_encoder import image_network, text_network
from export.graph.external_weights import WeightsFile, refer_to_file
from export.graph.quantize import quantize
from export.graph.trace import export_onnx
from export.network import ExportedNetwork, batched
from export.samples import PROMPTS, Drawn, noised
from export.write.bundle import read_present, write_bundle
from export.write.network import NetworkFiles, copied_network, network_files
from runtime.engines.bundle import DiffusionBundle
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.roles import CAMERA
from runtime.engines.spec import BASE, FileSpec
from runtime.errors import UserError
from runtime.files import check_ordinary
from runtime.guidance.schedule import Schedule
from train.clip.dual import DualEncoder
from train.latent_diffusion.camera import CameraDenoiser
from train.latent_diffusion.camera_weights import fill, make_denoiser
from train.latent_diffusion.text import LENGTH, WIDTH
from train.runs import load_weights

VERSION = "1"
"""Version of the bundle's content."""

PROVENANCE = (
    "The denoiser of the bundle {base}, trained on by train.latent_diffusion.teacher on views of low-poly objects by "
    "Kenney, Kay Lousberg and Quaternius (CC0-1.0), and on icons of the sets that the ATTRIBUTION.md of {base} names."
)
"""What the trained weights are made of."""

DUAL_PROVENANCE = "The dual encoder of {base} was trained on by train.clip on the same views and icons."
"""What those of a dual encoder of its own are made of."""


class Seen(nn.Module):
    """A camera-aware denoiser as it is exported: the third of a camera's numbers says whether there is one."""

    def __init__(self, network: CameraDenoiser) -> None:
        """Wrap a denoiser."""
        super().__init__()
        self.network = network

    def forward(
        self,
        sample: Float[Tensor, "B 4 h w"],
        timestep: Int64[Tensor, " B"],
        context: Float[Tensor, "B N D"],
        camera: Float[Tensor, "B 3"],
    ) -> Float[Tensor, "B 4 h w"]:
        """Return the predicted noise."""
        return self.network(sample, timestep, context, camera[:, :2], camera[:, 2] > 0.5)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A trained camera-aware denoiser and what it was trained on."""

    network: CameraDenoiser
    """With its averaged weights."""
    base: DiffusionBundle
    """The bundle whose denoiser was trained."""
    dual: DualEncoder | None = None
    """A dual encoder that was trained on views of objects, too; none: that of the base."""


def load_source(run: Path, base: str, dual: Path | None = None) -> Source:
    """Return what the run folder of a teacher, or of `train.further`, holds.

    Args:
        run: the folder.
        base: bundle that was trained on.
        dual: run folder of train.clip, for a dual encoder of its own.

    Raises:
        UserError: a folder has no averaged weights, or those of another network.
    """
    path = run / "ema.safetensors"
    # First the weights: with the wrong folder nobody waits until a bundle is hashed and its denoiser made.
    try:
        check_ordinary(path)
        weights = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise _no_weights(path, error) from None
    bundle = DiffusionBundle.load(base)
    network = make_denoiser(bundle)
    try:
        fill(network, weights)
    except ValueError as error:
        raise _no_weights(path, error) from None
    encoder = None if dual is None else load_dual(dual)
    return Source(network=network.eval().requires_grad_(False), base=bundle, dual=encoder)


def load_dual(run: Path) -> DualEncoder:
    """Return the dual encoder of a run folder of train.clip.

    Raises:
        UserError: the folder has no averaged weights, or those of another network.
    """
    return load_weights(DualEncoder(), run).eval().requires_grad_(False)


def _no_weights(path: Path, error: Exception) -> UserError:
    """Return what to say of a file that is not a teacher's averaged weights."""
    return UserError(
        f"'{path}': expected the averaged weights of python -m train.latent_diffusion.teacher, got {error!s:.100}"
    )


def make_network(source: Source, drawn: Drawn) -> ExportedNetwork:
    """Return the exported denoiser; it is verified on latents that the base draws, half of them with cameras."""
    base, prompt, generator = source.base, drawn.prompt, drawn.generator
    count = len(drawn.latents)
    sample, timestep = noised(drawn.latents, Schedule.of(base.schedule), generator)
    cameras = torch.rand((count, CAMERA), generator=generator) * torch.tensor([2 * math.pi, 1.0, 0.0])
    cameras[::2] += torch.tensor([0.0, 0.0, 1.0])
    cameras[1::2] = 0.0
    return ExportedNetwork(
        spec=batched(
            "denoiser",
            {
                "sample": base.latent_shape,
                "timestep": ("int64",),
                "context": (1 + LENGTH, WIDTH),
                "camera": (CAMERA,),
            },
            {"epsilon": base.latent_shape},
        ),
        module=Seen(source.network).eval(),
        samples=(sample, timestep, prompt.context, cameras),
    )


def dual_networks(dual: DualEncoder, base: DiffusionBundle, drawn: Drawn) -> dict[str, ExportedNetwork]:
    """Return the towers of a dual encoder, verified on what a bundle has drawn."""
    with torch.no_grad():
        # A bundle of this kind has a place for the camera behind the text.
        context = base.text_encoder()(list(PROMPTS))[:, : 1 + LENGTH]
        images = base.latent_decoder()(drawn.latents)
    return {"image_embedder": image_network(dual, images), "text_embedder": text_network(dual, context)}


def denoiser_files(network: ExportedNetwork, base: DiffusionBundle) -> NetworkFiles:
    """Return the files of the denoiser; weights whose bytes the base's model has are read from there."""
    model = export_onnx(network.module, network.spec, tuple(sample[:2] for sample in network.samples))
    model = quantize(model, network.storage)
    content = base.read_file("denoiser", "model.onnx")
    refer_to_file(model, WeightsFile.of_model(BASE, content), content)
    files = {"model.onnx": model.SerializeToString(deterministic=True)}
    return NetworkFiles(network.spec, files, {BASE: borrow(base, "denoiser", "model.onnx")})


def borrow(base: DiffusionBundle, role: str, file: str) -> FileSpec:
    """Return a file of a bundle's network as another bundle names it."""
    spec = base.specs[role].files[file]
    return replace(spec, bundle=base.name, path=f"{base.manifest.networks[role]}/{file}")


def borrowed_network(base: DiffusionBundle, role: str) -> NetworkFiles:
    """Return a network of which another bundle has all files."""
    spec = base.specs[role]
    return NetworkFiles(replace(spec, files={}), {}, {file: borrow(base, role, file) for file in spec.files})


def make_manifest(source: Source, name: str) -> DiffusionManifest:
    """Return what bundle.json says, but for the networks and hashes."""
    manifest = source.base.manifest
    texts = (PROVENANCE,) if source.dual is None else (PROVENANCE, DUAL_PROVENANCE)
    provenance = " ".join(texts).format(base=source.base.name)
    defaults = {"dreamfusion": {"views": "camera"}}
    return replace(
        manifest, name=name, version=VERSION, provenance=provenance, defaults=defaults, networks={}, files={}
    )


def write_objects(source: Source, folder: Path, report: Callable[[str], None]) -> dict[str, ExportedNetwork]:
    """Write the bundle and return the networks that were trained.

    Args:
        source: the trained denoiser and its base.
        folder: where; a bundle that is there is replaced, and its name is the bundle's.
        report: called with a line before each network.

    Raises:
        UserError: the folder holds something else.
    """
    read_present(folder)  # refuse before anything is computed
    report("exporting denoiser")
    drawn = Drawn.by(source.base)
    network = make_network(source, drawn)
    towers = {} if source.dual is None else dual_networks(source.dual, source.base, drawn)
    files = {role: borrowed_network(source.base, role) for role in source.base.specs}
    files["denoiser"] = denoiser_files(network, source.base)
    for role, tower in towers.items():
        report(f"exporting {role}")
        files[role] = network_files(tower)
    attribution = Path(__file__).with_name("ATTRIBUTION.md").read_bytes()
    write_bundle(folder, make_manifest(source, folder.resolve().name), files, {"ATTRIBUTION.md": attribution})
    return {"denoiser": network, **towers}


def write_dual(
    base: DiffusionBundle, dual: DualEncoder, folder: Path, report: Callable[[str], None]
) -> dict[str, ExportedNetwork]:
    """Write a bundle again with another dual encoder and return its towers.

    Args:
        base: a bundle of this kind, whose other networks are copied.
        dual: trained on views of objects.
        folder: where, the bundle's own folder included.
        report: called with a line before each network.

    Raises:
        UserError: the folder holds something else.
    """
    read_present(folder)  # refuse before anything is computed
    towers = dual_networks(dual, base, Drawn.by(base))
    files = {role: copied_network(base, role) for role in base.specs}
    for role, tower in towers.items():
        report(f"exporting {role}")
        files[role] = network_files(tower)
    texts = {name: (base.folder / name).read_bytes() for name in base.manifest.files if name.endswith(".md")}
    of = next(file.bundle for spec in base.specs.values() for file in spec.files.values() if file.bundle)
    note = DUAL_PROVENANCE.format(base=of)
    provenance = base.manifest.provenance.removesuffix(note).rstrip() + " " + note
    manifest = replace(base.manifest, name=folder.resolve().name, provenance=provenance, networks={}, files={})
    write_bundle(folder, manifest, files, texts)
    return towers
