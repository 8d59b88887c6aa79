"""The graphs of a bundle's networks, for a value or for value and vector-Jacobian product, and what each needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from runtime.engines.backends.onnx_check import check_onnx
from runtime.engines.backends.plans import PlanKey, hash_source
from runtime.engines.precision import Compute
from runtime.engines.spec import EngineSpec, FileSpec

VALUE, GRADIENT = "model.onnx", "vjp.onnx"
"""Files of the graph that gives a network's value, and of the one that gives its vector-Jacobian product too."""

BATCH_SHARDS: Mapping[str, int] = {"denoiser": 2}
"""For each role whose batches are best run in parts on a CPU, the number of these. Guidance asks a denoiser about
pairs, with and without the prompt: a pair took 15.8 ms in two parts and 20.2 ms as one batch, whose every operator
waits for both threads."""

ONE_THREAD = frozenset({"text_encoder", "text_encoder_2", "text_embedder"})
"""Roles whose network ONNX Runtime runs on one thread of a CPU: products of a few rows get other last bits with three
threads than with one or two, and these networks run once a drawing."""

AS_WRITTEN = frozenset({"text_encoder", "text_encoder_2"})
"""Roles whose graph ONNX Runtime runs as it is written, on a CPU. It would unpack weights of few bits when the session
is made and keep both: for the bundle `icons` that took 0.24 s and 370 MB, while a run that unpacks takes 0.04 s and
90 MB. These networks run once or twice a drawing."""


# a Protocol, not the class, which imports this module
class Networks(Protocol):
    """What a graph needs of its bundle; `runtime.engines.bundle.Bundle` is one."""

    specs: dict[str, EngineSpec]
    digest: str

    @property
    def name(self) -> str:
        """The bundle's name."""
        ...

    def check_file(self, role: str, file: str) -> None:
        """Refuse a role or file that the bundle does not list."""
        ...

    def read_file(self, role: str, file: str) -> bytes:
        """Return the verified content of a file of a role's folder."""
        ...

    def external_weights(self, role: str) -> dict[str, bytes]:
        """Return the verified files that a role's models may name weights in."""
        ...

    def vjp_spec(self, role: str) -> EngineSpec:
        """Return the spec of a role's graph of value and gradient."""
        ...

    def folder_of(self, role: str) -> Path:
        """Return the folder of a role's network."""
        ...

    def shared_files(self) -> dict[str, FileSpec]:
        """Return size and hash of the weights that several networks share."""
        ...


@dataclass(frozen=True)
class Graph:
    """One graph of a network of a bundle."""

    bundle: Networks
    """Where it is read from."""
    role: str
    """What the network is for."""
    spec: EngineSpec
    """The graph's tensors and ranges, and the files of the network's folder."""
    file: str = VALUE
    """`VALUE` or `GRADIENT`."""

    @property
    def name(self) -> str:
        """Its name in messages and plans: its role, with `.vjp` for the one with the gradient."""
        return self.role if self.file == VALUE else f"{self.role}.vjp"

    @property
    def shards(self) -> int:
        """Parts of a batch that ONNX Runtime runs side by side on a CPU."""
        return BATCH_SHARDS.get(self.role, 1)

    @property
    def in_one_thread(self) -> bool:
        """Whether ONNX Runtime takes one thread for it on a CPU."""
        return self.role in ONE_THREAD

    @property
    def as_written(self) -> bool:
        """Whether ONNX Runtime leaves it as it is on a CPU."""
        return self.role in AS_WRITTEN

    @property
    def plans(self) -> Path:
        """Folder of its TensorRT plans."""
        return self.bundle.folder_of(self.role) / "plans"

    def read(self) -> tuple[bytes, dict[str, bytes]]:
        """Return the verified content of its model, and of the files with its weights by name.

        Raises:
            UserError: a file is missing or damaged, or the model would read other files or run loops.
        """
        model, weights = self.bundle.read_file(self.role, self.file), self.bundle.external_weights(self.role)
        check_onnx(model, f"bundle {self.bundle.name!r}: {self.role}/{self.file}", weights)
        return model, weights

    def key(self, edition: str, version: str, capability: str, precision: str) -> PlanKey:
        """Return the key of a TensorRT plan of it; arguments as the fields of `PlanKey`."""
        return PlanKey(
            network=self.name,
            source=hash_source(self.spec, self.file, self.bundle.shared_files()),
            edition=edition,
            version=version,
            capability=capability,
            precision=Compute(precision),
        )


def graph_of(bundle: Networks, role: str, *, gradient: bool = False) -> Graph:
    """Return a graph of a role's network.

    Args:
        bundle: verified.
        role: what the network is for.
        gradient: whether it is the one that gives the vector-Jacobian product too.

    Raises:
        UserError: the bundle has no such network, or none with gradients for it.
    """
    bundle.check_file(role, GRADIENT if gradient else VALUE)
    if not gradient:
        return Graph(bundle, role, bundle.specs[role])
    spec = bundle.vjp_spec(role)
    # the network's files, since a plan's key takes the hashes of graph and weights from them
    return Graph(bundle, role, replace(spec, files=bundle.specs[role].files), GRADIENT)


def graphs_of(bundle: Networks, role: str) -> Iterator[Graph]:
    """Yield every graph of a role's network."""
    yield graph_of(bundle, role)
    if GRADIENT in bundle.specs[role].files:
        yield graph_of(bundle, role, gradient=True)
