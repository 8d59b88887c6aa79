"""What a bundle was made of: the networks in PyTorch float32 that verification compares it with."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from export.clip import networks as encoder_networks
from export.clip.sources import EncoderSource, load_encoder
from export.network import ExportedNetwork
from export.sd import networks as sd_networks
from export.sd.load import load_source
from export.sd.source import Source
from runtime.engines.bundle import Bundle
from runtime.engines.bundle.ddpm_manifest import DdpmManifest
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.bundle.lmconv_manifest import LMConvManifest
from runtime.engines.bundle.pixelnerf_manifest import PixelNeRFManifest
from runtime.engines.precision import Storage
from runtime.errors import UserError

_TOKENIZER = "tokenizer.json"


class LazyNetworks(Mapping[str, ExportedNetwork]):
    """Networks that are made when they are asked for, and let go: a large one is in memory while it is looked at."""

    def __init__(self, makers: Mapping[str, Callable[[], ExportedNetwork]]) -> None:
        """Remember what makes the network of each role."""
        self._makers = makers

    def __getitem__(self, role: str) -> ExportedNetwork:
        """Return a network with its weights."""
        return self._makers[role]()

    def __iter__(self) -> Iterator[str]:
        """Return the roles."""
        return iter(self._makers)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._makers)


def reference_networks(folder: Path, weights: str | None = None) -> Mapping[str, ExportedNetwork]:
    """Return the PyTorch float32 networks that a bundle was made of, by role, with inputs as they come in use.

    Samples have a batch of at least 2; other batches are made of them by repetition.

    Args:
        folder: the bundle's.
        weights: `--weights` of its export, then, behind a comma, `--pretrained` of its encoders' export; may be left
            out for random weights and for the hub's.

    Raises:
        UserError: no weights are named where they have to be, or they are not the ones that the bundle was made of.
    """
    bundle = Bundle(folder)
    manifest = bundle.manifest
    if isinstance(manifest, LMConvManifest):
        return _lmconv_networks(_named(weights, manifest.name, "run folder"))
    if isinstance(manifest, DdpmManifest):
        return _ddpm_networks(_named(weights, manifest.name, "run folder, or folder of weights,"))
    if isinstance(manifest, PixelNeRFManifest):
        return _pixelnerf_networks(_named(weights, manifest.name, "run folder"))
    assert isinstance(manifest, DiffusionManifest)
    if not manifest.source:
        return _icons_networks(_named(weights, manifest.name, "folder of trained weights"), set(manifest.networks))
    first, _, second = (weights or "").partition(",")
    # The bundle's own: the vocabulary of the export need not be on this machine.
    tokenizers = {role: bundle.read_file(role, _TOKENIZER) for role, s in bundle.specs.items() if _TOKENIZER in s.files}
    makers: dict[str, Callable[[], ExportedNetwork]] = {}
    if "sd" in manifest.source:
        texts = tuple(document for role, document in tokenizers.items() if role.startswith("text_encoder"))
        source = source_of(manifest.source["sd"], first or None, tokenizers=texts)
        makers |= sd_networks.network_makers(source, Storage.FLOAT32)
    else:
        second = second or first
    for exporter in manifest.source.keys() & {"clip", "timm"}:
        record = manifest.source[exporter]
        encoders = encoders_of(exporter, record, second or None, tokenizer=tokenizers.get("text_embedder", b""))
        makers |= encoder_networks.network_makers(encoders, manifest.image_size, Storage.FLOAT32)
    return LazyNetworks({role: make for role, make in makers.items() if role in manifest.networks})


def source_of(record: Mapping[str, Any], weights: str | None = None, *, tokenizers: tuple[bytes, ...] = ()) -> Source:
    """Return the source that a bundle's record names.

    Args:
        record: of bundle.json.
        weights: where they are now; None is where they were.
        tokenizers: the bundle's own, for a single file, which holds none.

    Raises:
        UserError: it has to be named by `weights` and is not, or its files are not the recorded ones.
    """
    text = weights or str(record["weights"])
    source = load_source(
        text,
        seed=int(record.get("seed", 0)),
        tokenizer=tokenizers or None,
        family=record.get("model"),
        size=record.get("size"),
    )
    recorded = {name: value for name, value in record.items() if name not in ("precision", "keys")}
    # Files may be named by another path than at their export: what counts is what is in them.
    named = {"weights": recorded["weights"]} if "files" in source.record else {}
    if {**source.record, **named} != recorded:
        raise UserError(
            f"--weights '{text}': the bundle was made of '{record['weights']}' with other files or another seed; "
            "name the ones that it was made of with --weights"
        )
    return source


def encoders_of(
    exporter: str, record: Mapping[str, Any], weights: str | None = None, *, tokenizer: bytes = b""
) -> EncoderSource:
    """Return the image and text encoders that a bundle's record names; arguments and errors as of `source_of`."""
    text = weights or str(record["weights"])
    source = load_encoder(exporter, str(record["model"]), text, tokenizer=tokenizer or None)
    # By hash: a name or a path says nothing about what is in a file.
    if source.record.get("files") != record.get("files"):
        raise UserError(
            f"'{text}': the bundle's encoders were made of '{record['weights']}' with other "
            "files; name the ones that they were made of"
        )
    return source


def _named(weights: str | None, name: str, kind: str) -> Path:
    if weights is None:
        raise UserError(f"bundle '{name}': name the {kind} that it was made of with --weights")
    return Path(weights)


def _icons_networks(folder: Path, roles: set[str]) -> Mapping[str, ExportedNetwork]:
    from export.icons import NETWORKS  # brings the programs that trained them, and their packages
    from export.icons.weights import load_weights

    weights = load_weights(folder)
    return {role: make(weights) for role, make in NETWORKS.items() if role in roles}


def _lmconv_networks(folder: Path) -> Mapping[str, ExportedNetwork]:
    from export.lmconv.networks import make_networks
    from train.lmconv.runs import load_run

    network, run = load_run(folder)
    return make_networks(network, run.size)


def _ddpm_networks(folder: Path) -> Mapping[str, ExportedNetwork]:
    from export.ddpm import make_networks
    from export.ddpm.source import source_of_run, source_of_weights

    # A run folder of training has its own averages; what else there is came from elsewhere.
    is_run = (folder / "ema.safetensors").is_file()
    return make_networks(source_of_run(folder) if is_run else source_of_weights(folder))


def _pixelnerf_networks(folder: Path) -> Mapping[str, ExportedNetwork]:
    from export.pixelnerf.networks import make_networks
    from train.pixelnerf.runs import load_run

    return make_networks(load_run(folder), Storage.FLOAT32)
