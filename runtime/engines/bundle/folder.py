"""A bundle on disk: every file is checked against its hash before use, and engines of its networks are made on demand.

bundle.json holds the hash of each network's spec.json, which holds the hash of that network's files. A file
that does not match is refused by name. Nothing is unpickled.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from runtime.engines.backends.choice import choose, choose_device, make_engine
from runtime.engines.backends.graphs import Graph, graph_of, graphs_of
from runtime.engines.backends.table import Choice
from runtime.engines.bundle.installed import INSTALLED, find_bundle, read_bundle_json, read_manifest
from runtime.engines.bundle.manifest import Manifest
from runtime.engines.protocols import BindableEngine
from runtime.engines.spec import BASE, WEIGHTS, EngineSpec, FileSpec
from runtime.engines.verified_files import read_verified, verify_file
from runtime.errors import UserError


class Bundle:
    """Frozen networks of any kind. Engines are made on first use and shared."""

    manifest_type: ClassVar[type[Manifest]] = Manifest
    """Class of the bundle.json that it takes; the base class takes every kind."""
    kinds: ClassVar[dict[str, type["Bundle"]]] = {}
    """What `Bundle.load` makes of each kind. The classes derive from this one: the module `kinds`, above, fills it."""

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        backend: str | Mapping[str, str] = "ort",
        compile: bool = False,
        make: Callable[..., BindableEngine] = make_engine,
    ) -> None:
        """Read and verify a bundle in a folder; `load` also takes the name of an installed one."""
        self.folder, self.threads, self.backend, self.compile = folder, threads, backend, compile
        self._make = make
        self.device = choose_device(device, backend)
        content, where = read_bundle_json(folder)
        # of the very bytes that are parsed: verification results are looked up by it
        self.digest = hashlib.sha256(content).hexdigest()
        self._manifest = read_manifest(content, where)
        if not isinstance(self._manifest, self.manifest_type):
            raise UserError(
                f"bundle {self.name!r}: expected a bundle for {self.manifest_type.kind}, got one for "
                f"{self._manifest.kind}; choose another with --bundle"
            )
        self._files: dict[str, FileSpec] = dict(self._manifest.files)
        self.specs: dict[str, EngineSpec] = {}
        for role, path in self._manifest.networks.items():
            # checked by its own hash first, since the hashes of all other files of the network come from it
            content = self._read(f"{path}/spec.json")
            self.specs[role] = spec = EngineSpec.from_json(content, f"bundle {self.name!r}: {path}/spec.json")
            self._files |= {f"{path}/{name}": file for name, file in spec.files.items()}
        # all files now, used or not: a damaged one would otherwise stop a run where it is first needed
        for name, file in self._files.items():
            verify_file(self._path_of(name), file, f"bundle {self.name!r}: {name}")
        self._engines: dict[tuple[int, str], BindableEngine] = {}
        self._begun: dict[tuple[int, str], Future[BindableEngine]] = {}
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
        make: Callable[..., BindableEngine] = make_engine,
    ) -> Self:
        """Return a verified bundle, of the class of its kind.

        Args:
            name_or_path: name of an installed bundle (`icons`), or a folder that holds a bundle.json.
            device: where the networks run: `cpu`, `cuda`, `cuda:N`, or `auto`.
            threads: threads of one operator, at least 1; None means as many as PyTorch uses.
            backend: what runs the networks, `auto` or one of `backends.table.BACKENDS`; or what an earlier load chose
                for each graph, as `choices` returns it.
            compile: whether torch.compile makes the networks faster that PyTorch runs.
            make: makes the engine of a graph, with the arguments of `make_engine`; it may run elsewhere.

        Raises:
            UserError: there is no such bundle, it is of another kind or from a newer version, or a file of it is
                missing, truncated or edited; the message names the file, what was expected, what came, and the remedy.
        """
        folder = find_bundle(name_or_path)
        bundle_class: type[Any] = cls
        if cls is Bundle:
            bundle_class = cls.kinds[read_manifest(*read_bundle_json(folder)).kind]
        return bundle_class(folder, device=device, threads=threads, backend=backend, compile=compile, make=make)

    @property
    def manifest(self) -> Manifest:
        """What bundle.json says."""
        return self._manifest

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self._manifest.name

    @property
    def licence(self) -> str:
        """SPDX expression of the weights' licence."""
        return self._manifest.licence

    def defaults(self, method: str) -> dict[str, Any]:
        """Return the values of a method's configuration that suit these networks; often none."""
        return dict(self._manifest.defaults.get(method, {}))

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
        # A forked process has none of its parent's threads, so it makes engines of its own. The parent's stay in the
        # dictionary: to free one would wait for its threads.
        key = (os.getpid(), graph.name)
        if key not in self._engines:
            begun = self._begun.pop(key, None)
            if begun is not None and threads is None:
                self._engines[key] = begun.result()  # or the error, as if it were made here
            else:
                choice = self._choice(graph)
                threads = threads or self.threads
                self._engines[key] = self._make(graph, choice, threads=threads, compile=self.compile)
        return self._engines[key]

    def make_ahead(self, names: Sequence[str]) -> None:
        """Begin to make engines in a thread, while the caller imports or computes something else.

        Only those that ONNX Runtime runs on the CPU: it holds no lock of the interpreter meanwhile. Whoever asks for
        one waits until it is made, and gets the error where it can't be.

        Args:
            names: graphs, as `choices` names them, in the order in which they will be asked for; others are left out.
        """
        if not names:
            return
        from runtime.threads import thread_count

        # of this thread: in a new one PyTorch may have another number
        threads = self.threads or thread_count()
        graphs = {graph.name: graph for role in self.specs for graph in graphs_of(self, role)}
        pool = ThreadPoolExecutor(1, thread_name_prefix="engines")
        for graph in (graphs[name] for name in names if name in graphs):
            key = (os.getpid(), graph.name)
            with suppress(UserError):  # which whoever asks for the engine will be told
                choice = self._choice(graph)
                if (choice.backend, choice.device) == ("ort", "cpu") and not {key} & {*self._engines, *self._begun}:
                    make = pool.submit(self._make, graph, choice, threads=threads, compile=self.compile)
                    self._begun[key] = make
        pool.shutdown(wait=False)

    def choices(self) -> dict[str, Choice]:
        """Return what runs each graph, by its name: the role, with `.vjp` for the one of the gradient.

        Raises:
            UserError: a backend that was asked for can't run one, or all of one's failed `export verify` here.
        """
        return {graph.name: self._choice(graph) for role in self.specs for graph in graphs_of(self, role)}

    def _choice(self, graph: Graph) -> Choice:
        # decided once: `choices` has to tell what the engines run on, even if a verification ends meanwhile
        if graph.name not in self._choices:
            if isinstance(self.backend, str):
                self._choices[graph.name] = choose(self, graph, self.backend, self.device)
            else:
                # a resumed run stays with its backends, since others differ in the last bits
                self._choices[graph.name] = Choice.from_text(self.backend.get(graph.name, "ort"), self.device)
        return self._choices[graph.name]

    def vjp_spec(self, role: str) -> EngineSpec:
        """Return what `vjp_engine` takes and gives; errors as there."""
        content = self.read_file(role, "vjp.json")
        return EngineSpec.from_json(content, f"bundle {self.name!r}: {self._manifest.networks[role]}/vjp.json")

    def external_weights(self, role: str) -> dict[str, bytes]:
        """Return the verified files that a role's models may name weights in, by name: its own, or else the bundle's.

        A network folder's weights.safetensors serves its ONNX models and its PyTorch twin. Some of the weights may be
        those of a model of another bundle, which is one more file.
        """
        own = {name: self.read_file(role, name) for name in (WEIGHTS, BASE) if name in self.specs[role].files}
        return own or self.shared_weights()

    def shared_weights(self) -> dict[str, bytes]:
        """Return the verified weights beside bundle.json that several networks use, by file name; often none."""
        name = self._shared_name()
        return {} if name is None else {WEIGHTS: self._read(name)}

    def _shared_name(self) -> str | None:
        """Return the name of the file of weights beside bundle.json, under which models know it as `WEIGHTS`.

        A bundle that was exported again in its place has it under another name than before.
        """
        # a file in a folder belongs to one network
        files = (name for name in self._manifest.files if "/" not in name and name.endswith(".safetensors"))
        return next(files, None)

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
        name = self._shared_name()
        return {} if name is None else {WEIGHTS: self._manifest.files[name]}

    def _path_of(self, name: str) -> Path:
        """Return where a file is: in the bundle's folder, or in that of the other bundle that has it.

        The other one is looked for beside this one, then among those that are installed. Its bundle.json is not asked:
        the hash that is written here vouches for the file.
        """
        file = self._files[name]
        if not file.bundle:
            return self.folder / name
        beside = self.folder.resolve().parent / file.bundle
        folder = beside if beside.is_dir() else INSTALLED / file.bundle
        if not folder.is_dir():
            raise UserError(
                f"bundle {self.name!r}: {name}: expected the bundle {file.bundle!r}, which has this file, beside it or "
                "among the installed ones, got none; put both into one folder"
            )
        return folder / file.path

    def _read(self, name: str) -> bytes:
        # hashed again: the file may have changed since it was verified, and these bytes are used
        return read_verified(self._path_of(name), self._files[name], f"bundle {self.name!r}: {name}")
