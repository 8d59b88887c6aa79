"""What looks at a field from where no photo was taken: an image encoder (DietNeRF), a diffusion model, pixelNeRF."""

from runtime.nerf.judges.terms import Judges

__all__ = ["Judges"]
