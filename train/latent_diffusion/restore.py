"""Make the denoiser of a bundle a network that can be trained: its int8 weights, float again.

What comes out is checked against the exported graph itself.
"""

import torch
from torch import Tensor

from runtime.engines.bundle.diffusion import DiffusionBundle
from runtime.errors import UserError
from train.graph_weights import fill_from_graph
from train.latent_diffusion.unet import IconDenoiser

_TOLERANCE = 1e-4
"""Greatest difference between the graph and the network, whose outputs have a deviation of about 1."""


@torch.no_grad()
def restore_denoiser(bundle: DiffusionBundle) -> IconDenoiser:
    """Return the denoiser of a bundle as a network of float weights.

    Raises:
        UserError: the bundle's denoiser is another network.
    """
    network = IconDenoiser().eval()
    where = f"bundle {bundle.name!r}: its denoiser"

    def run() -> Tensor:
        return network(torch.zeros(1, 4, 16, 16), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 17, 384))

    try:
        fill_from_graph(network, bundle.read_file("denoiser", "model.onnx"), run)
    except ValueError as error:
        raise UserError(f"{where}: expected that of icons, got another ({error!s:.100}); use another bundle") from None
    difference = _difference(network, bundle)
    if not difference <= _TOLERANCE:
        raise UserError(f"{where}: expected one that computes as that of icons, got a difference of {difference:.2g}")
    return network


def _difference(network: IconDenoiser, bundle: DiffusionBundle) -> float:
    """Return the greatest difference between a network and a bundle's denoiser on noise at four times."""
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn((4, 4, 16, 16), generator=generator)
    context: Tensor = torch.randn((4, 17, 384), generator=generator)
    timestep = torch.tensor([0, 300, 600, 999])
    return float((network(sample, timestep, context) - bundle.denoiser()(sample, timestep, context)).abs().max())
