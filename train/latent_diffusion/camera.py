"""A denoiser that knows where the camera stands: one more token of the text, made of azimuth and elevation.

Cameras are (azimuth, elevation) in radians. Azimuth 0 sees an object's front, azimuth pi / 2 the side at +x; elevation
0 is level and pi / 2 is from above. A picture without a camera, as an icon, has no token at all: the network is then
the one that it was made of, to the last bit of its weights.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from train.latent_diffusion.text import WIDTH
from train.latent_diffusion.unet import IconDenoiser

AZIMUTH_ORDERS = (1, 2, 3, 4)
"""Harmonics of the azimuth."""

ELEVATION_ORDERS = (1, 2, 4)
"""Harmonics of the elevation."""

FEATURES = 2 * (len(AZIMUTH_ORDERS) + len(ELEVATION_ORDERS))
"""Length of a camera's features."""

HIDDEN = 256
"""Width of the hidden layer between features and token."""


def camera_features(cameras: Float[Tensor, "B 2"]) -> Float[Tensor, "B F"]:
    """Return sine and cosine of each multiple of the azimuth, then of each multiple of the elevation.

    Args:
        cameras: (azimuth, elevation) in radians.
    """
    azimuth, elevation = cameras[:, :1], cameras[:, 1:]
    angles = [order * azimuth for order in AZIMUTH_ORDERS] + [order * elevation for order in ELEVATION_ORDERS]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)


def mirror_cameras(cameras: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
    """Return the cameras from which the mirrored object looks as the mirrored picture: azimuth negated.

    The light of a rendered view is fixed to its camera, a little left of it; in the mirrored picture it is right of it.
    """
    return cameras * cameras.new_tensor([-1.0, 1.0])


class CameraToken(nn.Module):
    """Makes the token of a camera; all zeros before training."""

    def __init__(self) -> None:
        """Make the network with the default initialization, but for its last layer, which is zero."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(FEATURES, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, WIDTH),
            nn.LayerNorm(WIDTH),
            nn.SiLU(),
        )
        self.project = nn.Linear(WIDTH, WIDTH)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, cameras: Float[Tensor, "B 2"]) -> Float[Tensor, "B D"]:
        """Return the tokens of cameras (azimuth, elevation) in radians."""
        return self.project(self.layers(camera_features(cameras)))


class CameraDenoiser(nn.Module):
    """An icon denoiser whose cross-attention also reads the token of a camera."""

    def __init__(self) -> None:
        """Make the network with the default initialization."""
        super().__init__()
        self.base = IconDenoiser()
        self.camera = CameraToken()

    def forward(
        self,
        sample: Float[Tensor, "B 4 h w"],
        timestep: Int64[Tensor, " B"],
        context: Float[Tensor, "B N D"],
        cameras: Float[Tensor, "B 2"] | None = None,
        present: Bool[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B 4 h w"]:
        """Return the predicted noise.

        Args:
            sample: noised latents alpha_t z + sigma_t eps.
            timestep: t in [0, 1000).
            context: the sentence vector, then the token states.
            cameras: (azimuth, elevation) in radians; None where no picture has a camera.
            present: which pictures have a camera; None where all have.
        """
        if cameras is None:
            return self.base(sample, timestep, context)
        mask = None
        if present is not None:
            # Even a token of zeros takes a share of the attention; a mask takes it away.
            words = torch.ones_like(context[:, :, 0], dtype=torch.bool)
            mask = torch.cat([words, present[:, None]], dim=1)
        token = self.camera(cameras)[:, None].to(context.dtype)
        output = self.base.unet(
            sample,
            timestep,
            encoder_hidden_states=torch.cat([context, token], dim=1),
            encoder_attention_mask=mask,
            class_labels=context[:, 0],
        )
        return output.sample
