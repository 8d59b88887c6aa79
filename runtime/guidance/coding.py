"""Progressive coding: a picture as the bits by which a diffusion model's reverse steps are steered to it.

Sender and receiver have the network and a source of normal draws in common. At a step from t to s the receiver would
draw z_s from p(z_s | z_t), the sender wants one from q(z_s | z_t, x), of the same variance. Both cut the dimensions
into blocks; for each the sender looks at 2^K common candidates from p, picks one with the probability that q over p
gives it, and sends its number, K bits (minimal random coding, arXiv:1810.00440). A block of relative entropy D needs a
little more than D bits, for fewer candidates than 2^D hold none that is likely under q. The receiver has the pictures
without any arithmetic on probabilities, so rounding on another machine cannot garble what follows.

The file: 16 bytes of `Header`, then for each step that is sent 4 bits of K and, where K is above 0, the number of
blocks in Elias' gamma code and K bits for each block; the last byte is filled with zeros.
"""

import math
import struct
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from runtime.errors import UserError
from runtime.guidance.diffusion import Transition

MAGIC = b"DDPM"
VERSION = 1
BLOCK_BITS = 8.0
"""Relative entropy of a block that the number of blocks aims at."""
SPARE_BITS = 1.5
"""Bits of a candidate's number beyond the block's mean relative entropy."""
MOST_BITS = 15
"""Most bits of a candidate's number."""
LOWEST_BITS = 0.5
"""Relative entropy of a step, bits, below which nothing is sent: the receiver draws, and later steps make up for it."""
_HEADER = struct.Struct("<4sBIIBH")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file begins with."""

    network: int
    """The first 32 bits of the SHA-256 of the bundle's bundle.json."""
    seed: int
    """Of the common draws, below 2^32."""
    steps: int
    """Steps of the whole way, in [1, 255]."""
    sent: int
    """Steps that the file holds."""

    def to_bytes(self) -> bytes:
        """Return the file's beginning."""
        return _HEADER.pack(MAGIC, VERSION, self.network, self.seed, self.steps, self.sent)


@dataclass(frozen=True)
class Step:
    """What is sent of one step: the candidate of each block; none where the receiver draws.

    Attributes:
        bits: K, bits of a candidate's number, 0 to `MOST_BITS`.
        chosen: numbers of the candidates.
    """

    bits: int
    chosen: tuple[int, ...] = field(default=())

    @property
    def size(self) -> int:
        """Bits that it takes in the file."""
        count = len(self.chosen)
        return 4 + (2 * count.bit_length() - 1 + self.bits * count if self.bits else 0)


def relative_entropy(transition: Transition, x: Float[Tensor, "1 C H W"], x_hat: Float[Tensor, "1 C H W"]) -> float:
    """Return KL(q(z_s | z_t, x) || p(z_s | z_t)) in bits, where both have the posterior's variance."""
    return float(_shift(transition, x, x_hat).square().sum()) / (2.0 * math.log(2.0))


def _shift(transition: Transition, x: Float[Tensor, "1 C H W"], x_hat: Float[Tensor, "1 C H W"]) -> Tensor:
    """Return the distance of the two means in deviations."""
    weight = transition.weights[0] / transition.posterior_variance.sqrt()
    return float(weight) * (x.double() - x_hat.double())


def encode_step(
    transition: Transition,
    x: Float[Tensor, "1 C H W"],
    x_hat: Float[Tensor, "1 C H W"],
    seed: int,
    number: int,
) -> tuple[Step, Float[Tensor, "1 C H W"]]:
    """Return what is to be sent of a step, and the noise that it stands for.

    Args:
        transition: of the step.
        x: the picture.
        x_hat: its estimate from z_t, which the receiver has, too.
        seed: of the common draws.
        number: of the step.
    """
    entropy = relative_entropy(transition, x, x_hat)
    shape = x.shape
    # A block costs at least `SPARE_BITS`: for a fraction of a bit it is cheaper to let later steps correct the draw.
    if entropy < LOWEST_BITS:
        step = Step(0)
        return step, decode_step(step, shape, seed, number)
    count = min(max(1, round(entropy / BLOCK_BITS)), x.numel(), 1 << 16)
    bits = min(MOST_BITS, math.ceil(entropy / count + SPARE_BITS))
    shift = _shift(transition, x, x_hat).flatten().numpy()
    # The receiver never needs these draws, so they must not advance the source that both have.
    private = _source(seed, number, 1)
    chosen = []
    for block, places in enumerate(_blocks(len(shift), count, seed, number)):
        candidates = _candidates(seed, number, block, 1 << bits, len(places))
        # log q/p of each candidate, and the greatest after Gumbel noise: a draw in proportion to q/p.
        weights = candidates @ shift[places].astype(np.float32)
        gumbel = -np.log(-np.log(_uniform(private, 1 << bits)))
        chosen.append(int((weights + gumbel).argmax()))
    step = Step(bits, tuple(chosen))
    return step, decode_step(step, shape, seed, number)


def decode_step(step: Step, shape: tuple[int, ...], seed: int, number: int) -> Float[Tensor, "1 C H W"]:
    """Return the standard normal noise that a step stands for."""
    dimensions = math.prod(shape)
    noise = np.empty(dimensions, np.float32)
    count = len(step.chosen) or 1
    for block, places in enumerate(_blocks(dimensions, count, seed, number)):
        candidates = _candidates(seed, number, block, 1 << step.bits, len(places))
        noise[places] = candidates[step.chosen[block] if step.bits else 0]
    return torch.from_numpy(noise).view(shape)


def _source(seed: int, number: int, purpose: int, block: int = 0) -> np.random.Philox:
    """Return a counter-based source, whose raw output no version of NumPy changes."""
    return np.random.Philox(key=[seed, (number << 40) | (purpose << 32) | block])


def _uniform(source: np.random.Philox, count: int) -> np.ndarray:
    """Return numbers above 0 and below 1."""
    return ((source.random_raw(count) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _blocks(dimensions: int, count: int, seed: int, number: int) -> list[np.ndarray]:
    """Return the places of each block, at random: a block of neighbours may hold all of the information, or none."""
    # Sorting random keys, not a shuffle: NumPy may change how it shuffles, but not what a stable sort is.
    order = _source(seed, number, 0).random_raw(dimensions).argsort(kind="stable")
    return np.array_split(order, count)


def _candidates(seed: int, number: int, block: int, count: int, dimensions: int) -> np.ndarray:
    """Return (count, dimensions) standard normal numbers by Box and Muller's method."""
    # By hand, as NumPy's own normal draws are not promised to be the same in every version.
    pairs = (count * dimensions + 1) // 2
    raw = _source(seed, number, 2, block).random_raw(pairs)
    first = ((raw >> np.uint64(32)).astype(np.float32) + 0.5) * np.float32(2.0**-32)
    second = (raw & np.uint64(0xFFFFFFFF)).astype(np.float32) * np.float32(2.0**-32 * 2.0 * math.pi)
    # Rounding may give a 1, whose logarithm is 0, but never a 0.
    radius = np.sqrt(-2.0 * np.log(first))
    normal = np.concatenate((radius * np.cos(second), radius * np.sin(second)))
    return normal[: count * dimensions].reshape(count, dimensions)


def write_code(header: Header, steps: list[Step]) -> bytes:
    """Return the bytes of a file."""
    digits = []
    for step in steps:
        digits.append(f"{step.bits:04b}")
        if step.bits:
            count = f"{len(step.chosen):b}"
            digits.append("0" * (len(count) - 1) + count)
            digits += [f"{index:0{step.bits}b}" for index in step.chosen]
    text = "".join(digits)
    text += "0" * (-len(text) % 8)
    return header.to_bytes() + int(text or "0", 2).to_bytes(len(text) // 8, "big")


def read_code(data: bytes, where: str) -> tuple[Header, list[Step]]:
    """Return what a file holds.

    Raises:
        UserError: it is no such file, of another version, or cut short; `where` is its name in the message.
    """
    if len(data) < _HEADER.size or data[:4] != MAGIC:
        raise UserError(f"'{where}': expected a file that `ddpm codec` has written, got something else")
    _, version, network, seed, steps, sent = _HEADER.unpack(data[: _HEADER.size])
    if version != VERSION or not 1 <= steps <= 255 or sent > steps:
        raise UserError(
            f"'{where}': expected a file of version {VERSION}, got version {version}, {sent} of {steps} steps"
        )
    body = data[_HEADER.size :]
    text = f"{int.from_bytes(body, 'big'):0{8 * len(body)}b}" if body else ""
    place, parsed = 0, []
    for _ in range(sent):
        bits, place = _number(text, place, 4, where)
        chosen = []
        if bits:
            # At most 16 zeros: a number of blocks is at most 2^16, and a damaged file must not ask for more.
            zeros = len(text[place : place + 17]) - len(text[place : place + 17].lstrip("0"))
            count, place = _number(text, place, 2 * zeros + 1, where)
            for _ in range(count):
                index, place = _number(text, place, bits, where)
                chosen.append(index)
        parsed.append(Step(bits, tuple(chosen)))
    # The encoder fills up to a whole byte, with zeros: anything else is not its work.
    if len(text) - place >= 8 or "1" in text[place:]:
        raise UserError(f"'{where}': expected {-(-place // 8)} bytes behind the header, got {len(body)}")
    return Header(network=network, seed=seed, steps=steps, sent=sent), parsed


def _number(text: str, place: int, digits: int, where: str) -> tuple[int, int]:
    """Return the number at a place of a text of binary digits, and the place behind it."""
    if place + digits > len(text):
        raise UserError(f"'{where}': the file is cut short; copy it again")
    return int(text[place : place + digits], 2), place + digits
