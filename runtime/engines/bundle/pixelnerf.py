"""The bundle of a pixelNeRF network."""

from runtime.engines.bundle.folder import Bundle
from runtime.engines.bundle.pixelnerf_manifest import PixelNeRFManifest


class PixelNeRFBundle(Bundle):
    """An encoder of pictures and a field that looks up its features, and the camera that they were trained with."""

    manifest_type = PixelNeRFManifest

    @property
    def manifest(self) -> PixelNeRFManifest:
        """What bundle.json says."""
        assert isinstance(self._manifest, PixelNeRFManifest)
        return self._manifest
