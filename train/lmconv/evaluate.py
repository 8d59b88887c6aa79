"""Print a run's tables: likelihoods under one and several orders, of hidden parts, and under orders not trained with.

    python -m train.lmconv.evaluate runs/mnist --orders 1,8

The averaged weights of the last checkpoint are evaluated, also while the run continues.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from jaxtyping import Integer
from torch import Tensor

from runtime.command.options import parse_options
from runtime.command.ranges import Count
from runtime.errors import UserError, run_main
from runtime.pixels.orders import Order, parse_orders
from runtime.pixels.regions import hidden_region
from train.lmconv.data import Name, load_pictures
from train.lmconv.likelihood import bits_per_dimension, conditional_nll, ensemble, joint_log_likelihoods
from train.lmconv.network import LocallyMaskedPixelCNN
from train.lmconv.runs import RunConfig, load_run

REGIONS = ("top", "left", "bottom")
"""The regions of Thesis Table 2.3."""

NOVEL = ("s-curve:8", "raster:8", "hilbert:8")
"""Orders to try where the run was not trained with them (Thesis 2.6.2)."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to evaluate."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of python -m train.lmconv."""
    data_dir: Path | None = None
    """Folder or npz archive with the data, by default data/NAME."""
    orders: str = "1,8"
    """How many of the run's orders to average over, with commas."""
    tables: str = "whole,hidden,novel"
    """Which tables to print: whole pictures, hidden parts, novel orders."""
    split: Literal["valid", "test"] = "test"
    """Which pictures."""
    count: Count | None = None
    """Only that many of the split's first pictures."""
    batch: Count = 100
    """Pictures in one forward pass."""
    device: str = "cpu"
    """PyTorch device."""
    bf16: bool = False
    """Compute in bfloat16: faster on processors that have it, and off by some hundredths of a nat."""


def line_of(name: str, nats: float, dimensions: int) -> str:
    """Return a table's line: name, nats, bits per dimension."""
    return f"| {name} | {nats:.2f} | {bits_per_dimension(nats, dimensions):.4f} |"


def whole_table(
    network: LocallyMaskedPixelCNN,
    pictures: Integer[Tensor, "N C H W"],
    orders: Sequence[Order],
    counts: Sequence[int],
    batch: int,
) -> Iterator[str]:
    """Yield the lines of Thesis Tables 2.1 and 2.2: NLL under each order, and under ensembles of the first ones."""
    dimensions = math.prod(pictures.shape[1:])
    joint = joint_log_likelihoods(network, pictures, orders[: max(counts)], batch=batch)
    yield f"| whole pictures ({len(pictures)}) | nats | bits/dim |"
    yield "|---|---|---|"
    for number, row in enumerate(joint):
        yield line_of(f"order {number}", -float(row.mean()), dimensions)
    for count in counts:
        name = f"{count} order{'s' if count > 1 else ''}"
        yield line_of(name, -float(ensemble(joint[:count]).mean()), dimensions)


def hidden_table(
    network: LocallyMaskedPixelCNN, pictures: Integer[Tensor, "N C H W"], orders: Sequence[Order], batch: int
) -> Iterator[str]:
    """Yield the lines of Thesis Table 2.3, in nats and, behind a slash, in bits for each hidden dimension."""
    columns = {region: conditional_nll(network, pictures, orders, region, batch=batch) for region in REGIONS}
    size = (pictures.shape[2], pictures.shape[3])
    hidden = {region: pictures.shape[1] * int(hidden_region(region, size).sum()) for region in REGIONS}
    yield f"| hidden part ({len(pictures)}), nats / bits | {' | '.join(REGIONS)} |"
    yield "|---|---|---|---|"
    for name in columns[REGIONS[0]]:
        nats = {region: columns[region][name] for region in REGIONS}
        cells = [f"{nats[region]:.2f} / {bits_per_dimension(nats[region], hidden[region]):.4f}" for region in REGIONS]
        yield f"| {name} | {' | '.join(cells)} |"


def novel_table(
    network: LocallyMaskedPixelCNN, pictures: Integer[Tensor, "N C H W"], run: RunConfig, batch: int
) -> Iterator[str]:
    """Yield the lines of Thesis 2.6.2: NLL under one and all variants of curves that the run was not trained with."""
    trained = {order.tobytes() for order in parse_orders(run.orders, run.size)}
    dimensions = math.prod(pictures.shape[1:])
    yield f"| orders not trained with ({len(pictures)}) | nats | bits/dim |"
    yield "|---|---|---|"
    for name in NOVEL:
        orders = [order for order in parse_orders(name, run.size) if order.tobytes() not in trained]
        if orders:
            joint = joint_log_likelihoods(network, pictures, orders, batch=batch)
            curve = name.partition(":")[0]
            yield line_of(f"{curve}, 1 order", -float(joint[0].mean()), dimensions)
            yield line_of(f"{curve}, {len(orders)} orders", -float(ensemble(joint).mean()), dimensions)


def parse_counts(text: str, available: int) -> list[int]:
    """Return the numbers of orders that a command line asks for.

    Raises:
        UserError: where one is no number from 1 to the number of the run's orders.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() and 1 <= int(word) <= available for word in words):
        raise UserError(f"--orders '{text}': expected numbers from 1 to {available}, the run's orders, with commas")
    return [int(word) for word in words]


def tables(config: Config) -> Iterator[str]:
    """Yield the lines of the tables that are asked for.

    Raises:
        UserError: where the run, the data or a choice do not fit.
    """
    network, run = load_run(config.run)
    data: Name = run.data  # type: ignore[assignment]
    bits = (run.architecture.levels - 1).bit_length()
    loaded = load_pictures(
        data,
        config.data_dir,
        binarization=run.binarization,  # type: ignore[arg-type]
        size=run.size[0] if data in ("celeba-hq", "images") else None,
        bits=None if run.binarization != "none" else bits,
    )
    if loaded.size != tuple(run.size):
        raise UserError(f"--data-dir: expected pictures of {run.size}, as the run was trained on, got {loaded.size}")
    names = [word.strip() for word in config.tables.split(",")]
    if not set(names) <= {"whole", "hidden", "novel"}:
        raise UserError(f"--tables '{config.tables}': expected whole, hidden and novel, with commas")
    pictures = getattr(loaded, config.split)[: config.count]
    orders = parse_orders(run.orders, run.size)
    counts = parse_counts(config.orders, len(orders))
    network.to(config.device)
    with torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=config.bf16):
        for table in names:
            if table == "whole":
                yield from whole_table(network, pictures, orders, counts, config.batch)
            elif table == "hidden":
                yield from hidden_table(network, pictures, orders, config.batch)
            else:
                yield from novel_table(network, pictures, run, config.batch)
            yield ""


def main() -> None:
    """Evaluate from a command line."""
    for line in tables(parse_options(Config, "train.lmconv.evaluate", description=__doc__)):
        print(line, flush=True)


if __name__ == "__main__":
    run_main(main)
