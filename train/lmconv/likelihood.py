"""Exact likelihoods: of whole pictures, of hidden parts given the rest, and of ensembles of orders (Thesis 2.6).

An order factorizes a picture's probability into one factor a position; everything here is a sum of their logarithms.
Pictures are whole numbers (B, channels, H, W) in [0, levels).
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Float64, Integer
from torch import Tensor

from runtime.errors import UserError
from runtime.pixels.heads import log_mass, to_unit
from runtime.pixels.orders import Order, maximum_context_order, rank_by_context
from runtime.pixels.regions import Region, hidden_region
from train.lmconv.layer import LayerMask
from train.lmconv.network import Architecture, LocallyMaskedPixelCNN, MaskKey

Progress = Callable[[str], None]


def check_pictures(pictures: Tensor, architecture: Architecture) -> Integer[Tensor, "B C H W"]:
    """Return pictures, checked to be what a network models.

    Raises:
        UserError: where they have other channels, are no whole numbers, or are deeper than the network's levels.
    """
    channels, levels = architecture.channels, architecture.levels
    if pictures.ndim != 4 or pictures.shape[1] != channels:
        raise UserError(f"pictures: expected (B, {channels}, H, W), got {tuple(pictures.shape)}")
    if pictures.is_floating_point() or pictures.dtype == torch.bool:
        raise UserError(f"pictures: expected whole numbers in [0, {levels}), got {pictures.dtype}; quantize them first")
    if pictures.numel() and (int(pictures.min()) < 0 or int(pictures.max()) >= levels):
        came = int(pictures.max()) if int(pictures.min()) >= 0 else int(pictures.min())
        raise UserError(
            f"pictures: expected whole numbers in [0, {levels}), got {came}; reduce their depth to {levels} levels"
        )
    return pictures


def log_likelihoods(
    network: LocallyMaskedPixelCNN, pictures: Integer[Tensor, "B C H W"], masks: dict[MaskKey, LayerMask]
) -> Float[Tensor, "B H W"]:
    """Return the log-probability in nats of each pixel given those before it.

    Args:
        network: the model; the precision is that of its weights, or of an enclosing autocast until the last layer.
        pictures: whole numbers in [0, levels).
        masks: the order, as `network.masks` makes them.
    """
    a = network.architecture
    weight = network.head.weight
    unit = to_unit(pictures, a).to(weight.dtype).contiguous(memory_format=torch.channels_last)
    parameters = network(unit, masks).to(weight.dtype)
    # Log-probabilities are sums over hundreds of pixels: half a digit in each would be nats in all.
    with torch.autocast(weight.device.type, enabled=False):
        return log_mass(parameters, pictures.permute(0, 2, 3, 1), a)


@torch.no_grad()
def joint_log_likelihoods(
    network: LocallyMaskedPixelCNN,
    pictures: Tensor,
    orders: Sequence[Order],
    *,
    hidden: Region | None = None,
    batch: int = 100,
    progress: Progress | None = None,
) -> Float64[Tensor, "K N"]:
    """Return log-probabilities (orders, N) in nats, float64, of pictures or of their hidden parts, under each order.

    Args:
        network: the model.
        pictures: whole numbers in [0, levels).
        orders: each makes a row of the result.
        hidden: only these positions' factors are summed. Under a maximum-context order that is the
            probability of the hidden part given the rest; under another one, given only what came before.
        batch: pictures in one forward pass.
        progress: called with a line after each order.

    Raises:
        UserError: where pictures, orders or the region do not fit.
    """
    check_pictures(pictures, network.architecture)
    size = (pictures.shape[2], pictures.shape[3])
    chosen = torch.ones(size, dtype=torch.bool) if hidden is None else torch.from_numpy(hidden_region(hidden, size))
    device = network.head.weight.device
    rows = []
    for number, order in enumerate(orders):
        masks = network.masks(order, size)
        # In float64 from here on, as ensembles take the logarithm of a mean of tiny probabilities.
        parts = [log_likelihoods(network, part.to(device), masks).double().cpu() for part in pictures.split(batch)]
        rows.append(torch.cat([part[:, chosen].sum(1) for part in parts]))
        if progress:
            progress(f"order {number + 1} of {len(orders)}: {-float(rows[-1].mean()):.3f} nats")
    return torch.stack(rows)


def ensemble(joint: Float[Tensor, "K N"]) -> Float[Tensor, " N"]:
    """Return the log of the mean over orders of probabilities whose logs are (orders, N)."""
    return torch.logsumexp(joint, 0) - math.log(len(joint))


def bits_per_dimension(nats: float, dimensions: int) -> float:
    """Return nats of a picture as bits for each of its dimensions (pixels times channels)."""
    return nats / (dimensions * math.log(2.0))


def conditional_nll(
    network: LocallyMaskedPixelCNN,
    pictures: Integer[Tensor, "N C H W"],
    paths: Sequence[Order],
    region: str | Region,
    *,
    batch: int = 100,
) -> dict[str, float]:
    """Return mean negative log-likelihoods in nats of a hidden region, a row of Thesis Table 2.3.

    Args:
        network: the model.
        pictures: whole numbers in [0, levels).
        paths: the orders that it was trained with. The adversarial one is that which comes to the region first; the
            maximum-context ones are made of those that come to it last, with all observed pixels moved before it.
        region: a name of `runtime.pixels.regions`, or (H, W) booleans.
        batch: pictures in one forward pass.

    Returns:
        `adversarial`, `1 max context`, `2 max context` (the last where there are two paths).
    """
    hidden = hidden_region(region, (pictures.shape[2], pictures.shape[3]))
    ranking = rank_by_context(paths, hidden)
    best = [maximum_context_order(paths[i], hidden) for i in ranking[:2]]
    joint = joint_log_likelihoods(network, pictures, [paths[ranking[-1]], *best], hidden=hidden, batch=batch)
    rows = {"adversarial": joint[0], "1 max context": joint[1]}
    if len(best) == 2:
        rows["2 max context"] = ensemble(joint[1:])
    return {name: -float(row.mean()) for name, row in rows.items()}
