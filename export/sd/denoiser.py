"""The denoiser: noised latents, times and contexts to what the U-Net predicts; XL adds pooled texts and sizes."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from export.network import ExportedNetwork, TorchModule
from export.pretrained.mixed import WideSoftmax
from export.pretrained.specs import batched
from export.samples import noised
from export.sd.configurations import Pipeline
from runtime.guidance.schedule import Schedule


class GuidedUNet(nn.Module):
    """A U-Net of diffusers with float32 tensors on all sides."""

    def __init__(self, unet: nn.Module) -> None:
        """Wrap a U-Net; its attention gets a softmax in float32."""
        super().__init__()
        unet.set_attn_processor(WideSoftmax())  # pyright: ignore
        self.unet = unet

    def forward(
        self,
        sample: Float[Tensor, "B C h w"],
        timestep: Int[Tensor, " B"],
        context: Float[Tensor, "B N D"],
        pooled: Float[Tensor, "B E"] | None = None,
        time_ids: Float[Tensor, "B 6"] | None = None,
    ) -> Float[Tensor, "B C h w"]:
        """Return the prediction in float32.

        Args:
            sample: noised latents.
            timestep: in [0, T).
            context: of the text encoders.
            pooled: of the second text encoder (XL only).
            time_ids: height and width before cropping, the crop's top and left, height and width (XL only).
        """
        # Casts are in the graph, so that a bundle's tensors are float32 whatever the network computes in.
        dtype: Any = self.unet.conv_in.weight.dtype  # pyright: ignore
        added = None if pooled is None else {"text_embeds": pooled, "time_ids": time_ids}
        predicted = self.unet(
            sample.to(dtype), timestep, context.to(dtype), added_cond_kwargs=added, return_dict=False
        )[0]
        return predicted.float()


def make_unet(pipeline: Pipeline) -> nn.Module:
    """Return the U-Net on the meta device."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel.from_config(dict(pipeline.unet))  # pyright: ignore


def time_ids(pipeline: Pipeline) -> list[float]:
    """Return XL's condition on the pictures' sizes: before cropping, no crop, after it."""
    side = float(pipeline.image_size)
    return [side, side, 0.0, 0.0, side, side] if pipeline.is_xl else []


def make_network(
    pipeline: Pipeline,
    unet: nn.Module,
    latents: Float[Tensor, "V C h w"],
    context: Float[Tensor, "V N D"],
    pooled: Float[Tensor, "V E"] | None,
) -> ExportedNetwork:
    """Return the U-Net; it is verified on latents that are noised to times over the whole schedule.

    Args:
        pipeline: what the U-Net belongs to.
        unet: with its weights.
        latents: of pictures, deviation about 1.
        context: of texts.
        pooled: of the same texts (XL only).
    """
    sample, timestep = noised(latents, Schedule.of(pipeline.schedule), torch.Generator().manual_seed(0))
    inputs: dict[str, tuple] = {"sample": latents.shape[1:], "timestep": ("int64",), "context": context.shape[1:]}
    samples: tuple[Tensor, ...] = (sample, timestep, context)
    if pooled is not None:
        ids = torch.tensor(time_ids(pipeline)).expand(len(latents), -1).contiguous()
        inputs |= {"pooled": pooled.shape[1:], "time_ids": (6,)}
        samples = (*samples, pooled, ids)
    output = "velocity" if pipeline.prediction == "v_prediction" else pipeline.prediction
    return ExportedNetwork(
        spec=batched("denoiser", inputs, {output: latents.shape[1:]}),
        module=GuidedUNet(unet),
        samples=samples,
        torch_module=TorchModule(name="UNet2DConditionModel", arguments=pipeline.unet, state=unet.state_dict()),
    )
