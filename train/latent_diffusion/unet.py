"""The denoiser of the icon model: a diffusers U-Net on 16x16x4 latents, conditioned on sentence and tokens."""

from jaxtyping import Float, Int64
from torch import Tensor, nn

UNET = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [96, 128, 160],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 384,
    "attention_head_dim": 4,
    "norm_num_groups": 16,
    "class_embed_type": "simple_projection",
    "projection_class_embeddings_input_dim": 384,
}
"""Keyword arguments of `diffusers.UNet2DConditionModel`; attention_head_dim is, there, the number of heads."""

SCHEDULE = {
    "num_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
"""The noise schedule of Stable Diffusion."""


class IconDenoiser(nn.Module):
    """Predicts the noise of a latent from a context whose first vector is the sentence."""

    def __init__(self) -> None:
        """Make the network with the default initialization."""
        super().__init__()
        from diffusers.models.attention_processor import AttnProcessor
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        self.unet = UNet2DConditionModel(**UNET)
        self.unet.set_attn_processor(AttnProcessor())

    def forward(
        self, sample: Float[Tensor, "B 4 h w"], timestep: Int64[Tensor, " B"], context: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B 4 h w"]:
        """Return the predicted noise.

        Args:
            sample: noised latents alpha_t z + sigma_t eps.
            timestep: in [0, 1000).
            context: the sentence vector, then the token states.
        """
        output = self.unet(sample, timestep, encoder_hidden_states=context, class_labels=context[:, 0])
        return output.sample
