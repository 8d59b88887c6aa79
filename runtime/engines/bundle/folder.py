"""A bundle on disk: every file is checked against its hash before use, and the networks come out behind Protocols.

bundle.json holds the hash of each network's spec.json, which holds the hash of that network's files. What does not
match is refused by name. Nothing is unpickled.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from runtime.engines.backends.choice import Choice, choose, choose_device, make_engine, torch_engine
from runtime.engines.backends.graphs import BACKWARD, FORWARD, Graph, graph_of, graphs_of
from runtime.engines.bundle import lmconv_manifest as pixel_manifest
from runtime.engines.bundle import manifest
from runtime.engines.bundle.lmconv_manifest import PixelManifest
from runtime.engines.bundle.manifest import Manifest
from runtime.engines.protocols import (
    BindableEngine,
    Denoiser,
    Engine,
    ImageEncoder,
    ImageTextScorer,
    LatentDecoder,
    LatentEncoder,
    TextEncoder,
)
from runtime.engines.spec import EngineSpec, FileSpec
from runtime.engines.strict_json import GREATEST_JSON, parse_object
from runtime.engines.verified_files import read_limited, read_verified, verify_file
from runtime.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from runtime.engines.tokens import PromptTokenizer

INSTALLED = Path(__file__).resolve().parents[2] / "bundles"
"""Folder of the bundles that ship in the package."""

GRADIENTS = ("torch", "engine", "none")
"""Providers of the latent encoder: PyTorch, engines for value and VJP, or an engine that runs forward only."""


@dataclass(frozen=True)
class InstalledBundle:
    """One line of `--list-bundles`."""

    name: str
    """Name for `Bundle.load`."""
    licence: str
    """SPDX expression of the weights' licence; empty where the bundle cannot be read."""
    size: int
    """Bytes of all its files."""
    folder: Path
    """Where it is."""
    problem: str = ""
    """Why it cannot be read, else empty."""
    method: str = ""
    """What its networks are for; empty where the bundle cannot be read."""


def installed_bundles(root: Path = INSTALLED) -> list[InstalledBundle]:
    """Return the bundles in a folder, by name; only their bundle.json is read."""
    return [_describe(path.parent) for path in sorted(root.glob("*/bundle.json"))]


def _describe(folder: Path) -> InstalledBundle:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    where = f"bundle {folder.name!r}: bundle.json"
    try:
        said = read_manifest(read_limited(folder / "bundle.json", GREATEST_JSON, where), where)
    except UserError as error:
        return InstalledBundle(folder.name, "", size, folder, str(error))
    return InstalledBundle(folder.name, said.licence, size, folder, method=said.method)


METHODS: dict[str, type[Manifest] | type[PixelManifest]] = {
    manifest.METHOD: Manifest,
    pixel_manifest.METHOD: PixelManifest,
}
"""What bundle.json says for each method that a bundle can be for."""


def read_manifest(content: bytes, where: str) -> Manifest | PixelManifest:
    """Return what the text of a bundle.json of any method says; arguments and errors as of `Manifest.from_json`."""
    method = parse_object(content, where).get("method", manifest.METHOD)
    if not isinstance(method, str) or method not in METHODS:
        raise UserError(f"{where}: field 'method': expected one of {', '.join(METHODS)}, got {method!r:.60}")
    return METHODS[method].from_json(content, where)


def _holds_bundle(folder: Path) -> bool:
    return os.path.isfile(folder / "bundle.json")  # unlike Path.is_file, never raises: the name is a user's


class BundleFolder:
    """Frozen networks of any method. Engines are made on first use and shared."""

    method: ClassVar[str] = ""
    """The method that a bundle has to be for; empty takes all."""

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        backend: str | Mapping[str, str] = "ort",
        compile: bool = False,
    ) -> None:
        """Read and verify a bundle in a folder; `load` also takes the name of an installed one."""
        self.folder, self.threads, self.backend, self.compile = folder, threads, backend, compile
        self.device = choose_device(device, backend)
        where = f"bundle {folder.name!r}: bundle.json"
        content = read_limited(folder / "bundle.json", GREATEST_JSON, where)
        self.digest = hashlib.sha256(content).hexdigest()
        self._manifest = read_manifest(content, where)
        if self.method and self._manifest.method != self.method:
            raise UserError(
                f"bundle {self.name!r}: expected a bundle for {self.method}, got one for {self._manifest.method}; "
                "choose another with --bundle"
            )
        self._files: dict[str, FileSpec] = dict(self._manifest.files)
        self.specs: dict[str, EngineSpec] = {}
        for role, path in self._manifest.networks.items():
            content = self._read(f"{path}/spec.json")
            self.specs[role] = spec = EngineSpec.from_json(content, f"bundle {self.name!r}: {path}/spec.json")
            self._files |= {f"{path}/{name}": file for name, file in spec.files.items()}
        for name, file in self._files.items():
            verify_file(folder / name, file, f"bundle {self.name!r}: {name}")
        self._engines: dict[str, BindableEngine] = {}
        self._choices: dict[str, Choice] = {}

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        backend: str | Mapping[str, str] = "ort",
        compile: bool = False,
    ) -> Self:
        """Return a verified bundle.

        Args:
            name_or_path: name of an installed bundle (`icons`), or a folder that holds a bundle.json.
            device: where the networks run: `cpu`, `cuda`, `cuda:N`, or `auto`.
            threads: threads of one operator, at least 1; None means as many as PyTorch uses.
            backend: what runs the networks, one of `backends.choice.BACKENDS`; or what an earlier load chose
                for each graph, as `choices` tells it.
            compile: whether torch.compile makes the networks faster that PyTorch runs.

        Raises:
            UserError: there is no such bundle, it is for another method or from a newer version, or a file of it is
                missing, truncated or edited; the message names the file, what was expected, what came, and the remedy.
        """
        text = str(name_or_path)
        if "/" not in text and _holds_bundle(INSTALLED / text):
            return cls(INSTALLED / text, device=device, threads=threads, backend=backend, compile=compile)
        folder = Path(text)
        if not _holds_bundle(folder):
            names = ", ".join(bundle.name for bundle in installed_bundles()) or "none"
            got = "a folder without one" if os.path.isdir(folder) else "neither"
            raise UserError(
                f"bundle {text!r:.200}: expected the name of an installed bundle ({names}) or a folder with a "
                f"bundle.json, got {got}; --list-bundles shows what is installed"
            )
        return cls(folder, device=device, threads=threads, backend=backend, compile=compile)

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self._manifest.name

    @property
    def licence(self) -> str:
        """SPDX expression of the weights' licence."""
        return self._manifest.licence

    def engine(self, role: str, *, threads: int | None = None) -> BindableEngine:
        """Return the engine of a role, made once, on the backend that the bundle was loaded with.

        Args:
            role: what the network is for.
            threads: threads of one operator where the engine is made; None means the bundle's.
        """
        return self._engine_of(graph_of(self, role), threads)

    def vjp_engine(self, role: str) -> BindableEngine:
        """Return the engine (x, cotangent) -> (y, gradient by x) of a role's network, made once.

        Raises:
            UserError: the bundle has no such network, or none with gradients for it.
        """
        return self._engine_of(graph_of(self, role, gradient=True), None)

    def _engine_of(self, graph: Graph, threads: int | None) -> BindableEngine:
        if graph.name not in self._engines:
            choice = self._choice(graph)
            threads = threads or self.threads
            self._engines[graph.name] = make_engine(graph, choice, threads=threads, compile=self.compile)
        return self._engines[graph.name]

    def gradient_halves(self, role: str) -> tuple[BindableEngine, BindableEngine] | None:
        """Return the engines x -> (y, *saved) and (cotangent, *saved) -> gradient of a role's network, made once.

        None where `vjp_engine` is not ONNX Runtime on a CPU, or the bundle has no halves.

        Raises:
            UserError: the bundle has no such network, or none with gradients for it.
        """
        choice = self._choice(graph_of(self, role, gradient=True))
        if (choice.backend, choice.device) != ("ort", "cpu") or f"{BACKWARD}.onnx" not in self.specs[role].files:
            return None
        return self._half(role, FORWARD), self._half(role, BACKWARD)

    def _half(self, role: str, stem: str) -> BindableEngine:
        if f"{role}.{stem}" not in self._engines:
            from runtime.engines.backends.ort import OrtEngine

            where = f"bundle {self.name!r}: {self._manifest.networks[role]}/{stem}.json"
            spec = EngineSpec.from_json(self.read_file(role, f"{stem}.json"), where)
            model, shared = self.read_file(role, f"{stem}.onnx"), self.external_weights(role)
            self._engines[f"{role}.{stem}"] = OrtEngine(spec, model, threads=self.threads, shared=shared)
        return self._engines[f"{role}.{stem}"]

    def _differentiable(self, role: str) -> "Callable[[Tensor], Tensor]":
        """Return a role's network as a function whose value and gradient come from engines."""
        from runtime.engines.autograd import differentiable, differentiable_halves, value_of_engine, vjp_of_engine

        halves = self.gradient_halves(role)
        if halves is not None:
            return differentiable_halves(*halves)
        return differentiable(value_of_engine(self.engine(role)), vjp_of_engine(self.vjp_engine(role)))

    def choices(self) -> dict[str, Choice]:
        """Return what runs each graph, by its name: the role, with `.vjp` for the one of the gradient.

        Raises:
            UserError: a backend that was asked for can't run one, or all of one's failed `export verify` here.
        """
        return {graph.name: self._choice(graph) for role in self.specs for graph in graphs_of(self, role)}

    def _choice(self, graph: Graph) -> Choice:
        if graph.name not in self._choices:
            if isinstance(self.backend, str):
                self._choices[graph.name] = choose(self, graph, self.backend, self.device)
            else:
                self._choices[graph.name] = Choice.from_text(self.backend.get(graph.name, "ort"), self.device)
        return self._choices[graph.name]

    def vjp_spec(self, role: str) -> EngineSpec:
        """Return what `vjp_engine` takes and gives; errors as there."""
        content = self.read_file(role, "vjp.json")
        return EngineSpec.from_json(content, f"bundle {self.name!r}: {self._manifest.networks[role]}/vjp.json")

    def external_weights(self, role: str) -> dict[str, bytes]:
        """Return the verified files that a role's models may name weights in, by name: its own, or else the bundle's.

        A network folder's weights.safetensors serves its ONNX models and its PyTorch twin.
        """
        if pixel_manifest.WEIGHTS in self.specs[role].files:
            return {pixel_manifest.WEIGHTS: self.read_file(role, pixel_manifest.WEIGHTS)}
        return self.shared_weights()

    def shared_weights(self) -> dict[str, bytes]:
        """Return the verified weights beside bundle.json that several networks use, by file name; often none."""
        if pixel_manifest.WEIGHTS not in self._manifest.files:
            return {}
        return {pixel_manifest.WEIGHTS: self._read(pixel_manifest.WEIGHTS)}

    def read_file(self, role: str, file: str) -> bytes:
        """Return the verified content of a file of a role's folder.

        Raises:
            UserError: the bundle has no such network or file, or the file does not match its hash.
        """
        self.check_file(role, file)
        return self._read(f"{self._manifest.networks[role]}/{file}")

    def check_file(self, role: str, file: str) -> None:
        """Refuse, as `read_file` does, a role or file that the bundle does not list."""
        if role not in self.specs:
            has = ", ".join(self.specs) or "none"
            raise UserError(
                f"bundle {self.name!r} has no network for the role {role!r}; it has {has}; use another bundle"
            )
        if file not in self.specs[role].files:
            path = self._manifest.networks[role]
            raise UserError(f"bundle {self.name!r} has no file {path}/{file}; export it again")

    def folder_of(self, role: str) -> Path:
        """Return the folder of a role's network."""
        return self.folder / self._manifest.networks[role]

    def shared_files(self) -> dict[str, FileSpec]:
        """Return size and hash of the weights beside bundle.json that several networks use; often none."""
        return {name: file for name, file in self._manifest.files.items() if name == pixel_manifest.WEIGHTS}

    def _read(self, name: str) -> bytes:
        return read_verified(self.folder / name, self._files[name], f"bundle {self.name!r}: {name}")


class PixelBundle(BundleFolder):
    """The prefill and step networks of an LMConv network, and whose pictures it models."""

    method = pixel_manifest.METHOD

    @property
    def manifest(self) -> PixelManifest:
        """What bundle.json says."""
        assert isinstance(self._manifest, PixelManifest)
        return self._manifest


class Bundle(BundleFolder):
    """The networks of a latent diffusion model, with their schedule and sizes."""

    method = manifest.METHOD

    @property
    def manifest(self) -> Manifest:
        """What bundle.json says."""
        assert isinstance(self._manifest, Manifest)
        return self._manifest

    @property
    def schedule(self) -> dict[str, Any]:
        """num_timesteps, beta_start, beta_end, beta_schedule and prediction_type, as diffusers names them."""
        return dict(self.manifest.schedule)

    @property
    def latent_scale(self) -> float:
        """Factor that the latents of this bundle's encoder already carry."""
        return self.manifest.latent_scale

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of the latents."""
        return self.manifest.latent_shape

    @property
    def image_size(self) -> int:
        """Height and width of the pictures, pixels."""
        return self.manifest.image_size

    @property
    def text_length(self) -> int:
        """Tokens of a prompt, special ones included."""
        return self.manifest.text_length

    @property
    def prompt_suffix(self) -> str:
        """Text that a method appends to each prompt."""
        return self.manifest.prompt_suffix

    @property
    def defaults(self) -> dict[str, Any]:
        """Values of a method's configuration that suit these networks."""
        return dict(self.manifest.defaults)

    def denoiser(self) -> Denoiser:
        """Return the noise predictor."""
        from runtime.engines.roles import ConditionedDenoiser, EngineDenoiser

        engine = self.engine("denoiser")
        if any(tensor.name == "pooled" for tensor in engine.spec.inputs):
            if not self.manifest.time_ids:
                raise UserError(
                    f"bundle {self.name!r}: bundle.json: expected the field 'time_ids' for its denoiser, got none; "
                    "export it again"
                )
            return ConditionedDenoiser(engine, self.manifest.time_ids)
        return EngineDenoiser(engine)

    def latent_encoder(self, gradients: str = "torch") -> LatentEncoder:
        """Return the autoencoder's encoder.

        Args:
            gradients: `torch`: PyTorch forward and backward; `engine`: value and vector-Jacobian product from
                engines; `none`: forward only, and an input that requires a gradient is refused.

        Raises:
            UserError: an unknown provider, or one that the bundle has no files for.
        """
        from runtime.engines.roles import EngineLatentEncoder

        if gradients not in GRADIENTS:
            raise UserError(f"gradients: expected one of {', '.join(GRADIENTS)}, got {gradients!r:.60}")
        if gradients == "torch":
            return EngineLatentEncoder(self.eager_engine("latent_encoder"))
        if gradients == "none":
            return EngineLatentEncoder(self.engine("latent_encoder"))
        return self._differentiable("latent_encoder")

    def image_encoder(self, gradients: str = "torch") -> ImageEncoder:
        """Return the encoder of pictures that scores them; arguments and errors as of `latent_encoder`."""
        from runtime.engines.roles import EngineImageEncoder

        if gradients not in GRADIENTS:
            raise UserError(f"gradients: expected one of {', '.join(GRADIENTS)}, got {gradients!r:.60}")
        if gradients == "torch":
            return EngineImageEncoder(self.eager_engine("image_embedder"))
        if gradients == "none":
            return EngineImageEncoder(self.engine("image_embedder"))
        return self._differentiable("image_embedder")

    def latent_decoder(self) -> LatentDecoder:
        """Return the autoencoder's decoder."""
        from runtime.engines.roles import EngineLatentDecoder

        return EngineLatentDecoder(self.engine("latent_decoder"))

    def text_encoder(self) -> TextEncoder:
        """Return the text encoder with its tokenizer."""
        return self._text_encoder

    def scorer(self) -> ImageTextScorer:
        """Return the image-text scorer that ranks samples; a `UserError` says that the bundle has none."""
        if not {"image_embedder", "text_embedder"} <= set(self.specs):
            raise UserError(
                f"bundle {self.name!r} has no image-text encoder to choose among samples with; add one with: "
                f"python -m export clip --into {self.folder}, or ask for one sample: --samples 1"
            )
        from runtime.engines.roles import ClipScorer, DualEncoderScorer

        embedder = self.engine("text_embedder")
        if embedder.spec.inputs[0].dtype == "int64":  # it reads tokens, not the contexts of the text encoder
            return ClipScorer(self._tokenizer("text_embedder"), self.engine("image_embedder"), embedder)
        return DualEncoderScorer(self.text_encoder(), self.engine("image_embedder"), self.engine("text_embedder"))

    def eager_engine(self, role: str) -> Engine:
        """Return the PyTorch engine of a role, through which gradients pass."""
        return torch_engine(graph_of(self, role), device=self.device, compile=self.compile)

    @cached_property
    def _text_encoder(self) -> TextEncoder:
        from runtime.engines.roles import ClipTextEncoder, DualTextEncoder, IconsTextEncoder

        zero_empty = self.manifest.zero_empty
        if "text_encoder_2" in self.specs:
            first, second = (
                ClipTextEncoder(self._tokenizer(role), self.engine(role)) for role in ("text_encoder", "text_encoder_2")
            )
            return DualTextEncoder(first, second, zero_empty=zero_empty)
        tokenizer, engine = self._tokenizer("text_encoder"), self.engine("text_encoder")
        if len(engine.spec.inputs) == 1:  # CLIP's has no mask
            return ClipTextEncoder(tokenizer, engine, zero_empty=zero_empty)
        return IconsTextEncoder(tokenizer, engine)

    def _tokenizer(self, role: str) -> "PromptTokenizer":
        """Return the tokenizer in a network's folder, for as many tokens as the network takes."""
        from runtime.engines.tokens import PromptTokenizer

        where = f"bundle {self.name!r}: {self.manifest.networks[role]}/tokenizer.json"
        length = self.specs[role].inputs[0].shape[1]
        if not isinstance(length, int):
            raise UserError(f"{where}: expected a network of a fixed number of tokens, got '{length}'; export it again")
        return PromptTokenizer(self.read_file(role, "tokenizer.json"), length, where)
