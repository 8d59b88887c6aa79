"""The bundles that a server offers: the installed ones, and folders that whoever started it has named."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.engines.bundle.installed import find_bundle, installed_bundles, read_bundle_json, read_manifest
from runtime.errors import UserError


@dataclass(frozen=True)
class Offer:
    """A bundle that clients may name."""

    name: str
    kind: str
    """Which methods can use it."""
    folder: Path
    sha256: str
    """Digest of its bundle.json, which holds those of all its files."""
    defaults: Mapping[str, Mapping[str, Any]]
    """Its own values of the methods' options."""


class Offers:
    """Bundles by name.

    Args:
        others: names or folders beside the installed bundles; one may take the name of an installed one.
    """

    def __init__(self, others: Sequence[str] = ()) -> None:
        folders = [bundle.folder for bundle in installed_bundles() if not bundle.problem]
        offers = [offer_of(folder) for folder in [*folders, *map(find_bundle, others)]]
        self.by_name = {offer.name: offer for offer in offers}

    def digest_of(self, name: str) -> str:
        """Return the digest of a bundle.

        Raises:
            UserError: it is not offered.
        """
        return self._get(name).sha256

    def defaults_of(self, name: str, method: str) -> Mapping[str, Any]:
        """Return a bundle's own values of a method's options; often none."""
        return self._get(name).defaults.get(method, {})

    def folders(self) -> dict[str, Path]:
        """Return where each bundle lies."""
        return {name: offer.folder for name, offer in self.by_name.items()}

    def of_kind(self, kind: str | None) -> list[str]:
        """Return the names of the bundles of a kind."""
        return [name for name, offer in self.by_name.items() if offer.kind == kind]

    def suffice(self, kind: str | None) -> bool:
        """Return whether a method that needs bundles of a kind can be done; None: it needs none."""
        return kind is None or bool(self.of_kind(kind))

    def _get(self, name: str) -> Offer:
        if name not in self.by_name:
            # Whether a folder of the server exists is nothing that a client should learn.
            raise UserError(f"--bundle: expected one of {', '.join(self.by_name)}; got {name!r:.60}")
        return self.by_name[name]


def offer_of(folder: Path) -> Offer:
    """Return the offer of a bundle's folder.

    Raises:
        UserError: its bundle.json cannot be read.
    """
    content, where = read_bundle_json(folder)
    manifest = read_manifest(content, where)
    digest = hashlib.sha256(content).hexdigest()
    return Offer(manifest.name, manifest.kind, folder.absolute(), digest, manifest.defaults)
