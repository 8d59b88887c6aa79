"""What the bundle.json of a pixel diffusion model says: noise schedule, size of the pictures, variance of its steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from runtime.engines.bundle.diffusion_manifest import parse_schedule
from runtime.engines.bundle.manifest import Manifest, check_range
from runtime.errors import UserError

VARIANCES = ("fixedlarge", "fixedsmall")
"""Variances of a reverse step, as the authors' code names them."""


@dataclass(frozen=True, kw_only=True)
class DdpmManifest(Manifest):
    """The content of bundle.json."""

    kind: ClassVar[str] = "ddpm"
    roles: ClassVar[tuple[str, ...]] = ("denoiser",)
    required: ClassVar[Mapping[str, type]] = {
        "data": str,
        "schedule": dict,
        "variance": str,
        "channels": int,
        "image_size": int,
    }
    optional: ClassVar[Mapping[str, type]] = {"source": dict}

    data: str
    """Name of the data set that it models."""
    schedule: Mapping[str, Any]
    """num_timesteps, beta_start, beta_end, beta_schedule and prediction_type, as diffusers names them."""
    variance: str = "fixedlarge"
    """Variance of a step of ancestral sampling, one of `VARIANCES`."""
    channels: int
    """Colour channels: 1 or 3."""
    image_size: int
    """Height and width of the pictures, pixels."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """What the network was made of: architecture, and the hash of its weights."""

    @classmethod
    def parse_own(cls, document: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the fields of this kind; arguments and errors as of `Manifest.parse_own`."""
        if document["channels"] not in (1, 3):
            raise UserError(f"{where}: field 'channels': expected 1 or 3, got {document['channels']}")
        check_range(document, where, "image_size", 4, 4096)
        if document["variance"] not in VARIANCES:
            raise UserError(
                f"{where}: field 'variance': expected {' or '.join(VARIANCES)}, got {document['variance']!r:.60}"
            )
        return {"schedule": parse_schedule(document["schedule"], f"{where}: schedule")}
