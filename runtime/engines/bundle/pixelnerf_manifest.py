"""What the bundle.json of a pixelNeRF bundle says: the size of its pictures, and the camera that sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from runtime.engines.bundle.manifest import Manifest, check_range
from runtime.errors import UserError

LONGEST_KIND = 60
"""Most letters of a kind's name."""


@dataclass(frozen=True, kw_only=True)
class PixelNeRFManifest(Manifest):
    """The content of bundle.json."""

    kind: ClassVar[str] = "pixelnerf"
    roles: ClassVar[tuple[str, ...]] = ("picture_encoder", "field")
    required: ClassVar[Mapping[str, type]] = {
        "data": str,
        "side": int,
        "focal": float,
        "distance": float,
        "architecture": dict,
    }
    optional: ClassVar[Mapping[str, type]] = {"kinds": list}

    data: str
    """Name of the data set."""
    side: int
    """Height and width of the pictures, pixels."""
    focal: float
    """Focal length over the picture's side."""
    distance: float
    """Distance of the camera from the object's centre; the object lies in the unit ball."""
    architecture: Mapping[str, Any] = field(default_factory=dict)
    """The network's sizes; informative."""
    kinds: tuple[str, ...] = ()
    """Nouns, in lower case, of the kinds of objects that it was trained on; empty: nobody has listed them."""

    @classmethod
    def parse_own(cls, document: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the fields of this kind; arguments and errors as of `Manifest.parse_own`."""
        check_range(document, where, "side", 8, 1024)
        # A camera inside the unit ball, or one that looks past it, sees no object whole.
        if not 1 < document["distance"] < 1000 or not 0.01 < document["focal"] < 1000:
            raise UserError(
                f"{where}: fields 'focal' and 'distance': expected a camera outside the unit ball, got "
                f"{document['focal']!r:.40} and {document['distance']!r:.40}"
            )
        kinds = document.get("kinds", [])
        if not all(isinstance(kind, str) and 0 < len(kind) <= LONGEST_KIND for kind in kinds):
            raise UserError(f"{where}: field 'kinds': expected words of at most {LONGEST_KIND} letters, got others")
        return {
            "focal": float(document["focal"]),
            "distance": float(document["distance"]),
            "kinds": tuple(kinds),
        }
