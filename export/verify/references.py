"""Where weights come from: a folder, a file, a name on the hub, or `random:`; and what a bundle was made of."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.cut import Cut
from export.pretrained.tokenizer import clip_tokenizer, random_vocabulary
from export.pretrained.weights import RandomWeights
from export.sd.configurations import PIPELINES
from export.sd.source import Source
from runtime.errors import UserError

if TYPE_CHECKING:
    from export.clip.sources import EncoderSource

RANDOM = "random:"

_TOKENIZER = "tokenizer.json"


def load_source(
    text: str,
    *,
    seed: int = 0,
    tokenizer: Path | tuple[bytes, ...] | None = None,
    family: str | None = None,
    size: int | None = None,
) -> Source:
    """Return the model that `--weights` names.

    Args:
        text: a folder of diffusers, one .safetensors file, owner/name on the hub, or `random:` and a family.
        seed: of random weights.
        tokenizer: folder with vocab.json and merges.txt, for a file that holds none; or each encoder's tokenizer.json.
        family: name of the configuration of a file that does not tell.
        size: height and width of the pictures; None is what the model was trained on.

    Raises:
        UserError: it is none of these, of a family that is not known, unsafe to read, or incomplete.
    """
    source = _find(text, seed, tokenizer, family)
    return source if size is None else _resized(source, size)


def _find(text: str, seed: int, tokenizer: Path | tuple[bytes, ...] | None, family: str | None) -> Source:
    if text.startswith(RANDOM):
        return _random(text.removeprefix(RANDOM), seed)
    path = Path(text)
    if path.is_dir():
        from export.sd.folder import folder_source

        return folder_source(path)
    if path.is_file():
        from export.sd.single_file import file_source

        return file_source(path, tokenizer, family)
    from export.pretrained.hub import download, is_name

    if is_name(text):
        from export.sd.folder import folder_source

        return folder_source(download(text), name=text)
    raise UserError(
        f"--weights '{text}': expected a folder of diffusers, a .safetensors file, owner/name on the hub, or "
        f"{RANDOM} and one of {', '.join(PIPELINES)}; there is no such file or folder"
    )


def _resized(source: Source, size: int) -> Source:
    """Return a source whose pictures have another size; a `UserError` says which they may have."""
    pipeline = source.pipeline
    step = pipeline.latent_factor * 2 ** (len(pipeline.unet["block_out_channels"]) - 1)
    if not step <= size <= 4096 or size % step:
        raise UserError(f"--size: expected a multiple of {step} up to 4096, got {size}")
    unet = {**pipeline.unet, "sample_size": size // pipeline.latent_factor}
    return replace(source, pipeline=replace(pipeline, unet=unet), record={**source.record, "size": size})


def _random(family: str, seed: int) -> Source:
    if family not in PIPELINES:
        raise UserError(f"--weights {RANDOM}{family}: expected one of {', '.join(PIPELINES)} after '{RANDOM}'")
    if not 0 <= seed < 1 << 31:
        raise UserError(f"--seed: expected 0 to {(1 << 31) - 1}, got {seed}")
    pipeline = PIPELINES[family]
    vocabulary, merges = random_vocabulary()
    parts = ("unet", "vae", *("text_encoder", "text_encoder_2")[: len(pipeline.text_encoders)])
    return Source(
        pipeline=pipeline,
        weights={part: RandomWeights(8 * seed + i) for i, part in enumerate(parts)},
        tokenizers=tuple(clip_tokenizer(vocabulary, merges, padding) for padding in pipeline.padding),
        record={"weights": RANDOM + family, "seed": seed},
    )


class LazyCuts(Mapping[str, Cut]):
    """Cuts that are made when they are asked for, and not kept: a large network is in memory while it is looked at."""

    def __init__(self, makers: Mapping[str, Callable[[], Cut]]) -> None:
        """Remember what makes the cut of each role."""
        self._makers = makers

    def __getitem__(self, role: str) -> Cut:
        """Return a cut with its weights."""
        return self._makers[role]()

    def __iter__(self) -> Iterator[str]:
        """Return the roles."""
        return iter(self._makers)

    def __len__(self) -> int:
        """Return how many cuts there are."""
        return len(self._makers)


def reference_cuts(folder: Path, weights: str | None = None) -> Mapping[str, Cut]:
    """Return the PyTorch float32 networks that a bundle was made of, by role, with inputs as they come in use.

    Samples have a batch of at least 2; other batches are made of them by repetition.

    Args:
        folder: the bundle's.
        weights: what `--weights` said when it was exported, then, behind a comma, what `--pretrained` said; may be left
            out for random weights and for the hub's.

    Raises:
        UserError: no weights are named where they have to be, or they are not the ones that the bundle was made of.
    """
    from runtime.engines.bundle import Bundle
    from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
    from runtime.engines.bundle.lmconv_manifest import LMConvManifest

    bundle = Bundle(folder)
    said = bundle.manifest
    if isinstance(said, LMConvManifest):
        return _lmconv_cuts(_named(weights, said.name, "run folder"), said)
    assert isinstance(said, DiffusionManifest)
    if not said.source:
        return _icons_cuts(_named(weights, said.name, "folder of trained weights"), set(said.networks))
    first, _, second = (weights or "").partition(",")
    documents = {role: bundle.read_file(role, _TOKENIZER) for role, s in bundle.specs.items() if _TOKENIZER in s.files}
    makers: dict[str, Callable[[], Cut]] = {}
    if "sd" in said.source:
        from export.sd.networks import cut_makers

        texts = tuple(document for role, document in documents.items() if role.startswith("text_encoder"))
        source = source_of(said.source["sd"], first or None, tokenizers=texts)
        makers |= cut_makers(source, "float32", said=said.source["sd"]["precision"])
    else:
        second = second or first
    for exporter in said.source.keys() & {"clip", "timm"}:
        from export.clip.cuts import cut_makers as encoder_makers

        record = said.source[exporter]
        encoders = encoders_of(exporter, record, second or None, tokenizer=documents.get("text_embedder", b""))
        makers |= encoder_makers(encoders, said.image_size, "float32", said=record["precision"])
    return LazyCuts({role: make for role, make in makers.items() if role in said.networks})


def source_of(record: Mapping[str, Any], weights: str | None = None, *, tokenizers: tuple[bytes, ...] = ()) -> Source:
    """Return the source that a bundle's record tells of.

    Args:
        record: of bundle.json.
        weights: where they are now; None is where they were.
        tokenizers: the bundle's own, for a single file, which holds none.

    Raises:
        UserError: it has to be named by `weights` and is not, or its files are not the recorded ones.
    """
    text, known = weights or str(record["weights"]), {k: v for k, v in record.items() if k not in ("precision", "keys")}
    seed, family, size = int(record.get("seed", 0)), record.get("model"), record.get("size")
    source = load_source(text, seed=seed, tokenizer=tokenizers or None, family=family, size=size)
    # files may be named by another path than at their export: what counts is what is in them
    named = {"weights": known["weights"]} if "files" in source.record else {}
    if {**source.record, **named} != known:
        raise UserError(
            f"--weights '{text}': the bundle was made of '{record['weights']}' with other files or another seed; "
            "name the ones that it was made of with --weights"
        )
    return source


def encoders_of(
    exporter: str, record: Mapping[str, Any], weights: str | None = None, *, tokenizer: bytes = b""
) -> "EncoderSource":
    """Return the image and text encoders that a bundle's record tells of; arguments and errors as of `source_of`."""
    from export.clip.sources import load_encoder

    text = weights or str(record["weights"])
    source = load_encoder(exporter, str(record["model"]), text, tokenizer=tokenizer or None)
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


def _icons_cuts(folder: Path, roles: set[str]) -> Mapping[str, Cut]:
    from export.icons import CUTS
    from export.icons.weights import load_weights

    loaded = load_weights(folder)
    return {role: cut(loaded) for role, cut in CUTS.items() if role in roles}


def _lmconv_cuts(folder: Path, said: Any) -> Mapping[str, Cut]:
    from export.lmconv.networks import make_cuts
    from train.lmconv.runs import load_run

    network, run = load_run(folder)
    return make_cuts(network, run.size)
