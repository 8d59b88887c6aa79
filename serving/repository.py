"""A Triton model repository out of bundles: each network as a model, each method as a model that draws.

    repository/icons_denoiser/config.pbtxt            1234567/model.onnx
    repository/icons_denoiser_trt/config.pbtxt        1234567/sm89.plan      where the bundle has TensorRT plans
    repository/vectorfusion/config.pbtxt              1/model.py
    repository/vectorfusion-2/config.pbtxt            1/model.py             where two jobs run side by side

The number of a network's version is made of its content: the same files give the same number, and a changed network
comes beside the old one, whose folder stays. `config.pbtxt` says which is served.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.engines.backends.graphs import Graph, graphs_of
from runtime.engines.backends.plans import hash_source, list_plans
from runtime.engines.bundle import Bundle
from runtime.engines.precision import Compute
from runtime.engines.spec import FileSpec
from runtime.errors import UserError
from runtime.files import read_ordinary, replace_file
from serving.methods import Served
from serving.triton.configs import (
    Placement,
    from_text,
    method_config,
    model_name,
    network_config,
    spec_of,
    to_text,
)

MARK = ".tgm-repository"
"""File that says that a folder is ours to write into."""

MODEL = Path(__file__).parent / "models" / "model.py"
"""The one program of every method."""

EDITION = "tensorrt"
"""Edition whose plans Triton's backend loads; those of TensorRT-RTX are another format."""


@dataclass(frozen=True)
class Written:
    """A model of a repository."""

    name: str
    platform: str
    version: int


def build_repository(
    folder: Path,
    bundles: Sequence[Bundle],
    served: Mapping[str, Served],
    *,
    jobs: int = 1,
    networks: str = "process",
) -> list[Written]:
    """Write the models of bundles and methods into a folder and return them.

    Args:
        folder: a new one, an empty one, or a repository of ours.
        bundles: verified.
        served: methods; those of a kind that no bundle has are left out.
        jobs: of a method side by side; each has a model of its own.
        networks: `process` or `triton`; see `serving.triton.configs.method_config`.

    Raises:
        UserError: the folder holds something else.
    """
    claim(folder)
    kinds = {bundle.manifest.kind for bundle in bundles}
    written = [
        model for bundle in bundles for role in bundle.specs for graph in graphs_of(bundle, role)
        for model in write_network(folder, bundle, graph)
    ]  # fmt: skip
    for name, method in served.items():
        if method.method.kind is None or kinds.intersection(method.method.kinds):
            written += write_method(folder, name, method.home, jobs=jobs, networks=networks)
    return written


def write_method(folder: Path, name: str, home: str, *, jobs: int, networks: str) -> list[Written]:
    """Write the models of a method, one for each job side by side, and return them; those of more jobs go."""
    for path in folder.glob(f"{name}-*"):
        if path.name.removeprefix(f"{name}-").isdigit() and int(path.name.removeprefix(f"{name}-")) > jobs:
            shutil.rmtree(path)
    written = []
    for number in range(1, jobs + 1):
        config = method_config(name, home, networks=networks, number=number)
        replace_model(folder / config.name, "1", {"model.py": MODEL.read_bytes()}, to_text(config))
        written.append(Written(config.name, "python", 1))
    return written


def claim(folder: Path) -> None:
    """Make a folder a repository; refuse one that holds something else."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise UserError(
            f"--out '{folder}': expected a new folder or a repository of ours, got one with other files; choose another"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / MARK, "A Triton model repository, written by python -m serving build.\n")
    except OSError as error:
        raise UserError(f"--out '{folder}' cannot be written: {error.strerror}; choose another") from error


def write_network(folder: Path, bundle: Bundle, graph: Graph) -> list[Written]:
    """Write a network's models and return them: for ONNX Runtime, and for TensorRT where it has plans."""
    source = hash_source(graph.spec, graph.file, bundle.shared_files())
    version = version_of(source)
    model, weights = graph.read()
    name = model_name(bundle.name, graph.name)
    files = {"model.onnx": model, **weights}
    config = network_config(name, graph.spec, Placement(version=version))
    replace_model(folder / name, str(version), files, to_text(config))
    written = [Written(name, "onnxruntime", version)]
    plans = plans_of(graph, source)
    if plans:
        capabilities = tuple((capability, f"sm{capability.replace('.', '')}.plan") for capability in plans)
        config = network_config(f"{name}_trt", graph.spec, Placement("tensorrt_plan", capabilities, version))
        contents = {file: plans[capability] for capability, file in capabilities}
        replace_model(folder / f"{name}_trt", str(version), contents, to_text(config))
        written.append(Written(f"{name}_trt", "tensorrt_plan", version))
    return written


def plans_of(graph: Graph, source: str) -> dict[str, bytes]:
    """Return the plans of a network by compute capability, such as "8.9"; of several precisions the lowest."""
    lowest = {precision: place for place, precision in enumerate(Compute)}
    documents = [
        document for document in list_plans(graph.plans)
        if document.key.edition == EDITION and document.key.source == source and document.key.network == graph.name
    ]  # fmt: skip
    plans = {}
    for document in sorted(documents, key=lambda document: lowest[document.key.precision]):
        digits = document.key.capability.removeprefix("sm")
        content = (graph.plans / f"{document.key.stem}.plan").read_bytes()
        if hashlib.sha256(content).hexdigest() != document.file.sha256:
            raise UserError(f"plan '{document.key.stem}.plan' was edited: build it again")
        plans[f"{digits[:-1]}.{digits[-1]}"] = content
    return plans


def version_of(source: str) -> int:
    """Return the number of a network's version: 1 to 2**28, out of the hash of its model, weights and spec."""
    return 1 + int(source[:7], 16)


def replace_model(folder: Path, version: str, files: Mapping[str, bytes], config: str) -> None:
    """Write a version of a model, and then the configuration that serves it: a reader sees the old one or the new."""
    place = folder / version
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = place / name
        if not path.is_file() or path.read_bytes() != content:
            replace_file(path, content)
    replace_file(folder / "config.pbtxt", config)


def check_repository(folder: Path) -> list[str]:
    """Return what is wrong with a repository, a line each: fields, names, files, hashes, specs."""
    wrong = []
    for path in sorted(folder.glob("*/config.pbtxt")):
        try:
            config = from_text(read_ordinary(path, 1 << 20).decode("utf-8"), str(path))
            wrong += _check_model(path.parent, config)
        except (UserError, OSError, ValueError, KeyError) as error:
            wrong.append(f"{path.parent.name}: {error}")
    return wrong or ([] if any(folder.glob("*/config.pbtxt")) else ["holds no model"])


def _check_model(folder: Path, config: Any) -> list[str]:
    name, wrong = folder.name, []
    if config.name != name:
        wrong.append(f"{name}: expected the folder's name in its configuration, got {config.name!r}")
    if config.backend == "python":
        return wrong + _check_method(folder, config)
    spec = spec_of(config)
    for version in config.version_policy.specific.versions:
        names = [config.default_model_filename] if config.backend else list(config.cc_model_filenames.values())
        wrong += [
            f"{name}: {version}/{file} is missing" for file in names if not (folder / str(version) / file).is_file()
        ]
        wrong += _check_hashes(folder / str(version), spec.files, name)
    placement = Placement(
        config.platform or "onnxruntime",
        tuple(sorted(config.cc_model_filenames.items())),
        config.version_policy.specific.versions[0],
    )
    if network_config(name, spec, placement) != config:
        wrong.append(f"{name}: its configuration is not what its spec gives; build it again")
    return wrong


def _check_method(folder: Path, config: Any) -> list[str]:
    values = {key: value.string_value for key, value in config.parameters.items()}
    if not (folder / "1" / "model.py").is_file():
        return [f"{folder.name}: 1/model.py is missing"]
    number = int(values.get("copy", 0))
    again = method_config(values.get("method", ""), values["home"], networks=values["networks"], number=number)
    # Such as one with several instances, of which a killed one would not be noticed.
    return [] if again == config else [f"{folder.name}: its configuration is not what is built here; build it again"]


def _check_hashes(folder: Path, files: Mapping[str, FileSpec], name: str) -> list[str]:
    """Return the files of a version that are not what the spec says: a damaged copy must not be served."""
    wrong = []
    for path in sorted(folder.glob("*.onnx")):
        digests = {file.sha256 for each, file in files.items() if each.endswith(".onnx")}
        if hashlib.sha256(path.read_bytes()).hexdigest() not in digests:
            wrong.append(f"{name}: {folder.name}/{path.name} is not what its spec says (SHA-256): build it again")
    return wrong
