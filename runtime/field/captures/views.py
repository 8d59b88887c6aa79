"""Which pictures are trained on, and which are held out."""

import numpy as np

from runtime.errors import UserError
from runtime.field.captures.capture import Capture


def choose_views(total: int, count: int, seed: int = 0) -> list[int]:
    """Return the views of a few-view run: those that DietNeRF's published code draws.

    Of 100 pictures and with seed 0 the first eight are 26, 86, 2, 55, 75, 93, 16 and 73, and fewer are the first of
    them (R ajayjain/DietNeRF, which other papers follow).

    Args:
        total: pictures to choose from.
        count: pictures to choose, at most `total`.
        seed: of the draw.
    """
    # The published draw is NumPy's old generator, whose stream is frozen.
    draw = np.random.RandomState(seed)
    return [int(index) for index in draw.choice(total, count, replace=False)]


def split_views(
    capture: Capture, *, views: int | None = None, hold_out: int = 0, seed: int = 0
) -> tuple[list[int], list[int]]:
    """Return the indices of pictures to train on and of held-out ones.

    Held out are the capture's own test pictures, else its validation pictures, else every `hold_out`-th, else, where
    `views` are chosen, all others.

    Args:
        capture: the pictures.
        views: how many to train on, chosen by `choose_views`; None: all that are not held out.
        hold_out: every which picture is held out where the capture names no split; 0: none.
        seed: of the choice.

    Raises:
        UserError: there are fewer pictures than asked for.
    """
    held = list(capture.splits.get("test", ()) or capture.splits.get("val", ()))
    train = list(capture.splits.get("train", ()))
    if not train:
        rest = set(range(len(capture))) - set(held)
        if not held and hold_out > 0:
            held = [index for index in sorted(rest) if index % hold_out == 0]
            rest -= set(held)
        train = sorted(rest)
    if not train:
        raise UserError(f"--hold-out {hold_out}: expected pictures to train on, got none; hold fewer out")
    if views is None:
        return train, held
    if not 1 <= views <= len(train):
        raise UserError(f"--views: expected 1 to {len(train)}, as many as there are pictures to train on, got {views}")
    chosen = [train[index] for index in choose_views(len(train), views, seed)]
    return chosen, held or [index for index in train if index not in set(chosen)]
