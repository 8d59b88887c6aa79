"""Where bundles are and what their bundle.json says; none of their other files is read or checked here."""

import os
from dataclasses import dataclass
from pathlib import Path

from runtime.engines.bundle.ddpm_manifest import DdpmManifest
from runtime.engines.bundle.diffusion_manifest import DiffusionManifest
from runtime.engines.bundle.lmconv_manifest import LMConvManifest
from runtime.engines.bundle.manifest import Manifest, parse_document
from runtime.engines.bundle.pixelnerf_manifest import PixelNeRFManifest
from runtime.engines.strict_json import GREATEST_JSON
from runtime.engines.verified_files import read_limited
from runtime.errors import UserError

INSTALLED = Path(__file__).resolve().parents[2] / "bundles"
"""Folder of the bundles that ship in the package."""

MANIFESTS: dict[str, type[Manifest]] = {
    manifest.kind: manifest for manifest in (DiffusionManifest, LMConvManifest, DdpmManifest, PixelNeRFManifest)
}
"""What bundle.json says for each kind of bundle."""


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
    kind: str = ""
    """One of `MANIFESTS`; empty where the bundle cannot be read."""


def installed_bundles(root: Path = INSTALLED) -> list[InstalledBundle]:
    """Return the bundles in a folder, by name; only their bundle.json is read."""
    return [_describe(path.parent) for path in sorted(root.glob("*/bundle.json"))]


def _describe(folder: Path) -> InstalledBundle:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    try:
        manifest = read_manifest(*read_bundle_json(folder))
    except UserError as error:  # a damaged bundle is a line of the list, and hides no other
        return InstalledBundle(folder.name, "", size, folder, str(error))
    return InstalledBundle(folder.name, manifest.licence, size, folder, kind=manifest.kind)


def find_bundle(name_or_path: str | Path) -> Path:
    """Return the folder of an installed bundle (`icons`), or the folder itself where it holds a bundle.json.

    Raises:
        UserError: there is no such bundle; the message lists those that are installed.
    """
    text = str(name_or_path)
    # first, so that a folder of this name in the working directory cannot take an installed bundle's place
    if "/" not in text and _holds_bundle(INSTALLED / text):
        return INSTALLED / text
    folder = Path(text)
    if not _holds_bundle(folder):
        names = ", ".join(bundle.name for bundle in installed_bundles()) or "none"
        got = "a folder without one" if os.path.isdir(folder) else "neither"
        raise UserError(
            f"bundle {text!r:.200}: expected the name of an installed bundle ({names}) or a folder with a "
            f"bundle.json, got {got}; --list-bundles shows what is installed"
        )
    return folder


def _holds_bundle(folder: Path) -> bool:
    return os.path.isfile(folder / "bundle.json")  # unlike Path.is_file, never raises: the name is a user's


def manifest_of(name_or_path: str | Path) -> Manifest:
    """Return what the bundle.json of a bundle says, its kind and its defaults for each method among it.

    It is quick, since it reads no network and checks no hash, and needs no PyTorch: a command may ask before it parses
    its options.

    Raises:
        UserError: there is no such bundle, or its bundle.json is from a newer version or damaged.
    """
    return read_manifest(*read_bundle_json(find_bundle(name_or_path)))


def read_bundle_json(folder: Path) -> tuple[bytes, str]:
    """Return the content of a bundle's bundle.json, and what messages call that file.

    Raises:
        UserError: it is missing, too large or unreadable.
    """
    where = f"bundle {folder.name!r}: bundle.json"
    return read_limited(folder / "bundle.json", GREATEST_JSON, where), where


def read_manifest(content: bytes, where: str) -> Manifest:
    """Return what the text of a bundle.json of any kind says; arguments and errors as of `Manifest.from_json`."""
    kind = parse_document(content, where).get("kind")
    if not isinstance(kind, str) or kind not in MANIFESTS:
        raise UserError(f"{where}: field 'kind': expected one of {', '.join(MANIFESTS)}, got {kind!r:.60}")
    return MANIFESTS[kind].from_json(content, where)
