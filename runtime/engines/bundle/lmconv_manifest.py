"""What the bundle.json of an LMConv bundle says: data set, orders, sizes of the pictures, and the architecture."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from runtime.engines.bundle.manifest import Manifest, check_range
from runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class LMConvManifest(Manifest):
    """The content of bundle.json; it is also what `runtime.pixels.heads` needs to know of pixels."""

    kind: ClassVar[str] = "lmconv"
    roles: ClassVar[tuple[str, ...]] = ("prefill", "step")
    required: ClassVar[Mapping[str, type]] = {
        "data": str,
        "orders": str,
        "size": list,
        "channels": int,
        "levels": int,
        "mixtures": int,
        "architecture": dict,
    }

    data: str
    """Name of the data set."""
    orders: str
    """The orders that it was trained with, as `runtime.pixels.orders.parse_orders` reads them."""
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

    @classmethod
    def parse_own(cls, document: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the fields of this kind; arguments and errors as of `Manifest.parse_own`."""
        if document["channels"] not in (1, 3):
            raise UserError(f"{where}: field 'channels': expected 1 or 3, got {document['channels']}")
        check_range(document, where, "levels", 2, 256)
        check_range(document, where, "mixtures", 1, 1000)
        size = document["size"]
        if len(size) != 2 or not all(type(side) is int and 1 <= side <= 256 for side in size):
            raise UserError(f"{where}: field 'size': expected height and width of 1 to 256 pixels, got {size!r:.60}")
        return {"size": (size[0], size[1])}
