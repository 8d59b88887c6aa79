"""The order that a command line asks for: a name, a maximum-context order of a hidden region, or a user's file."""

from pathlib import Path

import numpy as np

from runtime.arrays import read_array
from runtime.errors import UserError
from runtime.files import read_ordinary
from runtime.pixels.orders import Order, Size, check_order, maximum_context_order, parse_orders, rank_by_context
from runtime.pixels.regions import Region

CONTEXT = "max-context"
"""Name of the order that draws from all that is observed."""

GREATEST = 1 << 24
"""Greatest size of a file with an order, bytes."""


def read_order(text: str, size: Size, trained: str, hidden: Region | None) -> Order:
    """Return the order (H W,) that a text names.

    Args:
        text: `max-context`: observed pixels first, then hidden ones, both along the trained path that comes to the
            hidden region last; `max-context:` and a curve: both along this curve; a curve as `raster`,
            `s-curve:3` or `hilbert`: just that; or a .npy or .txt file with the pixels' indices in their sequence.
        size: height and width of the picture.
        trained: the orders that the network was trained with, as `parse_orders` reads them.
        hidden: (H, W) booleans, or None where there is no region, and no maximum-context order.

    Raises:
        UserError: where the text names no order, or several, or the file holds no permutation.
    """
    if text.endswith((".npy", ".txt")):
        return _read_file(Path(text), size)
    context, _, curve = text.partition(":") if text.partition(":")[0] == CONTEXT else ("", "", text)
    if context and hidden is None:
        raise UserError(f"--order {text}: expected an order of whole pictures, as raster, got one for a hidden region")
    paths = parse_orders(curve or trained, size)
    if curve and len(paths) != 1:
        raise UserError(f"--order {text}: expected one order, got {len(paths)}; name a variant, as s-curve:0")
    if not context or hidden is None:
        return paths[0]
    return maximum_context_order(paths[rank_by_context(paths, hidden)[0]], hidden)


def _read_file(path: Path, size: Size) -> Order:
    """Return the order in a file of whole numbers: NumPy's format, or text with spaces, commas or lines between."""
    try:
        text = read_ordinary(path, GREATEST)
        if path.suffix == ".npy":
            array = read_array(path)
        else:
            array = np.array([int(word) for word in text.decode("utf-8").replace(",", " ").split()], np.int64)
    except OSError as error:
        raise UserError(f"--order '{path}' cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, OverflowError, MemoryError) as error:
        # A `UserError` is a ValueError: the message about the size must not be wrapped in this one.
        if isinstance(error, UserError):
            raise
        raise UserError(f"--order '{path}': expected whole numbers, one a pixel, got something else: {error}") from None
    return check_order(array.reshape(-1), size)
