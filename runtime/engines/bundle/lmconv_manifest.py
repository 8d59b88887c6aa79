"""What the bundle.json of an LMConv bundle says: whose pictures, how deep, how large, and the architecture."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.engines.bundle.manifest import check_bundle_name, check_networks, check_range, format_manifest
from runtime.engines.spec import FileSpec, check_format, parse_files
from runtime.engines.strict_json import check_fields, parse_object
from runtime.errors import UserError

METHOD = "lmconv"
"""What the field `method` says."""

ROLES = ("prefill", "step")
"""The networks of such a bundle: many positions at once, and one."""

WEIGHTS = "weights.safetensors"
"""The file beside bundle.json with the weights that both networks use."""

_KINDS: dict[str, type] = {
    "format": int,
    "method": str,
    "name": str,
    "version": str,
    "licence": str,
    "provenance": str,
    "data": str,
    "orders": str,
    "size": list,
    "channels": int,
    "levels": int,
    "mixtures": int,
    "architecture": dict,
    "networks": dict,
    "files": dict,
}


@dataclass(frozen=True, kw_only=True)
class PixelManifest:
    """The content of bundle.json; it is also what `runtime.pixels.heads` needs to know of pixels."""

    name: str
    """The bundle's name."""
    version: str
    """The bundle's own version; informative."""
    licence: str
    """SPDX expression of the weights' licence."""
    provenance: str
    """Who trained the networks on what."""
    data: str
    """Name of the data set."""
    orders: str
    """The orders trained with, as `runtime.pixels.orders.parse_orders` reads them."""
    size: tuple[int, int]
    """Height and width of the pictures, pixels."""
    channels: int
    """Colour channels: 1 or 3."""
    levels: int
    """Intensities of a channel, 2 to 256."""
    mixtures: int
    """Logistic distributions of a mixture."""
    architecture: Mapping[str, Any] = field(default_factory=dict)
    """The network's other sizes; informative."""
    networks: Mapping[str, str] = field(default_factory=dict)
    """Folder of the network for each role of `ROLES`."""
    files: Mapping[str, FileSpec] = field(default_factory=dict)
    """Size and hash of each network's spec.json and of the files beside bundle.json."""

    @property
    def method(self) -> str:
        """What the field `method` says."""
        return METHOD

    def to_json(self) -> str:
        """Return the text of bundle.json."""
        return format_manifest(self, _KINDS)

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "PixelManifest":
        """Return what the text of a bundle.json says.

        Args:
            data: content of the file.
            where: name of the file, for messages.

        Raises:
            UserError: not JSON, from a newer version, of another method, or a field is missing, unknown or senseless.
        """
        document = parse_object(data, where)
        check_format(document, where)
        check_fields(document, where, _KINDS)
        if document["method"] != METHOD:
            raise UserError(f"{where}: field 'method': expected {METHOD}, got {document['method']!r:.60}")
        check_bundle_name(document["name"], where)
        if document["channels"] not in (1, 3):
            raise UserError(f"{where}: field 'channels': expected 1 or 3, got {document['channels']}")
        check_range(document, where, "levels", 2, 256)
        check_range(document, where, "mixtures", 1, 1000)
        size, files = document["size"], parse_files(document["files"], where)
        if len(size) != 2 or not all(type(side) is int and 1 <= side <= 256 for side in size):
            raise UserError(f"{where}: field 'size': expected height and width of 1 to 256 pixels, got {size!r:.60}")
        networks = check_networks(document["networks"], files, f"{where}: networks", ROLES)
        del document["format"], document["method"]
        return cls(**document | {"size": (size[0], size[1]), "networks": networks, "files": files})
