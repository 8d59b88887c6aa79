"""The bundle of a diffusion model of pixels."""

from typing import Any

from runtime.engines.bundle.ddpm_manifest import DdpmManifest
from runtime.engines.bundle.folder import Bundle
from runtime.engines.protocols import PixelDenoiser


class DdpmBundle(Bundle):
    """One denoiser with its schedule, and what pictures it models."""

    manifest_type = DdpmManifest

    @property
    def manifest(self) -> DdpmManifest:
        """What bundle.json says."""
        assert isinstance(self._manifest, DdpmManifest)
        return self._manifest

    @property
    def schedule(self) -> dict[str, Any]:
        """num_timesteps, beta_start, beta_end, beta_schedule and prediction_type, as diffusers names them."""
        return dict(self.manifest.schedule)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the pictures."""
        return (self.manifest.channels, self.manifest.image_size, self.manifest.image_size)

    def denoiser(self) -> PixelDenoiser:
        """Return the network."""
        from runtime.engines.roles import EnginePixelDenoiser

        return EnginePixelDenoiser(self.engine("denoiser"))
