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

    def of_kinds(self, kinds: Sequence[str]) -> list[str]:
        """Return the names of the bundles of some kinds, in the order of the kinds."""
        return [name for kind in kinds for name, offer in self.by_name.items() if offer.kind == kind]

    def suffice(self, kinds: Sequence[str]) -> bool:
        """Return whether a method that takes bundles of some kinds can be done; of none: it needs no networks."""
        return not kinds or bool(self.of_kinds(kinds))

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
