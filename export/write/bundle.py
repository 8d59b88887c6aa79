"""Write a bundle: the networks' files, a spec.json with their hashes, and a bundle.json with the hashes of those."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.engines.bundle.manifest import Manifest
from runtime.engines.spec import EngineSpec
from runtime.engines.verified_files import describe_file


@dataclass(frozen=True)
class NetworkFiles:
    """One network of a bundle, ready to be written."""

    spec: EngineSpec
    """Its tensors; the hashes are filled in when it is written."""
    files: Mapping[str, bytes]
    """Content of every file of its folder: model.onnx, and config.json with weights.safetensors, tokenizer.json."""


def write_bundle(
    folder: Path,
    manifest: Manifest,
    networks: Mapping[str, NetworkFiles],
    extra: Mapping[str, bytes] | None = None,
) -> None:
    """Write a bundle; a reader sees the old folder or the whole new one.

    Args:
        folder: where; what is there is replaced.
        manifest: everything but `networks` and `files`, which are filled in.
        networks: the network for each role; its folder has the role's name.
        extra: content of files beside bundle.json, such as ATTRIBUTION.md.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        work = Path(temporary) / folder.name
        work.mkdir()
        files = dict(extra or {})
        for role, network in networks.items():
            files[f"{role}/spec.json"] = _write_network(work / role, network).to_json().encode()
        hashes = {}
        for name, content in files.items():
            (work / name).write_bytes(content)
            hashes[name] = describe_file(work / name)
        manifest = replace(manifest, networks={role: role for role in networks}, files=hashes)
        (work / "bundle.json").write_text(manifest.to_json(), encoding="utf-8")
        if folder.exists():
            folder.rename(Path(temporary) / "replaced")
        work.rename(folder)


def _write_network(folder: Path, network: NetworkFiles) -> EngineSpec:
    folder.mkdir()
    for name, content in network.files.items():
        (folder / name).write_bytes(content)
    return replace(network.spec, files={name: describe_file(folder / name) for name in network.files})


def bundle_sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of every file of a bundle, by relative path."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


def format_sizes(folder: Path) -> str:
    """Return the bytes of a bundle's files and their sum as a Markdown table."""
    sizes = bundle_sizes(folder)
    lines = ["| file | bytes |", "|---|---|", *(f"| {name} | {size:,} |" for name, size in sizes.items())]
    total = sum(sizes.values())
    return "\n".join([*lines, f"| all | {total:,} ({total / 2**20:.2f} MiB) |"])
