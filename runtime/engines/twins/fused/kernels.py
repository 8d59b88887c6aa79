"""The kernels of `group_norm`: sums of a channel by blocks of pixels, what follows from them, and the pass that writes.

Pictures are channels-last: (N, P, C) with P pixels. A program has some rows, all channels of them, and adds them up in
a fixed order, so that results have the same bits on every run.
"""

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]


@triton.jit
def _silu_slope(z):
    share = tl.sigmoid(z)
    return share * (1.0 + z * (1.0 - share))


@triton.jit
def moments(x_ptr, sums_ptr, pixels, ROWS: tl.constexpr, C: tl.constexpr, LANES: tl.constexpr, TILE: tl.constexpr):
    """Sums of x and of its square, by channel, of `ROWS` pixels: (N, programs, 2, C) float32."""
    n = tl.program_id(1)
    block = tl.program_id(0)
    channel = tl.arange(0, LANES)
    first = tl.zeros((LANES,), tl.float32)
    second = tl.zeros((LANES,), tl.float32)
    for start in range(0, ROWS, TILE):
        row = block * ROWS + start + tl.arange(0, TILE)
        inside = (row < pixels)[:, None] & (channel < C)[None, :]
        place = (n.to(tl.int64) * pixels + row)[:, None] * C + channel[None, :]
        x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32)
        first += tl.sum(x, 0)
        second += tl.sum(x * x, 0)
    out = (n * tl.num_programs(0) + block) * 2 * C + channel
    tl.store(sums_ptr + out, first, mask=channel < C)
    tl.store(sums_ptr + out + C, second, mask=channel < C)


@triton.jit
def gradient_moments(
    x_ptr, dy_ptr, scale_ptr, shift_ptr, sums_ptr, pixels, ROWS: tl.constexpr,
    C: tl.constexpr, LANES: tl.constexpr, TILE: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    """Sums of dz and of dz x, by channel, where z = scale x + shift is what the activation is given."""
    n = tl.program_id(1)
    block = tl.program_id(0)
    channel = tl.arange(0, LANES)
    scale = tl.load(scale_ptr + n * C + channel, mask=channel < C, other=0.0)
    shift = tl.load(shift_ptr + n * C + channel, mask=channel < C, other=0.0)
    first = tl.zeros((LANES,), tl.float32)
    second = tl.zeros((LANES,), tl.float32)
    for start in range(0, ROWS, TILE):
        row = block * ROWS + start + tl.arange(0, TILE)
        inside = (row < pixels)[:, None] & (channel < C)[None, :]
        place = (n.to(tl.int64) * pixels + row)[:, None] * C + channel[None, :]
        x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32)
        dz = tl.load(dy_ptr + place, mask=inside, other=0.0).to(tl.float32)
        if SILU:
            dz *= _silu_slope(x * scale[None, :] + shift[None, :])
        first += tl.sum(dz, 0)
        second += tl.sum(dz * x, 0)
    out = (n * tl.num_programs(0) + block) * 2 * C + channel
    tl.store(sums_ptr + out, first, mask=channel < C)
    tl.store(sums_ptr + out + C, second, mask=channel < C)


@triton.jit
def finish(
    sums_ptr, weight_ptr, bias_ptr, scale_ptr, shift_ptr, mean_ptr, rstd_ptr, pixels, programs, epsilon,
    C: tl.constexpr, G: tl.constexpr, WIDE: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """Mean and 1 / deviation of a group, and scale and shift of its channels; a program has a group."""
    n = tl.program_id(1)
    group = tl.program_id(0)
    lane = tl.arange(0, WIDE)
    channel = group * (C // G) + lane
    block = tl.arange(0, BLOCKS)
    inside = (block < programs)[:, None] & (lane < C // G)[None, :]
    place = (n * programs + block)[:, None] * 2 * C + channel[None, :]
    # in float64: the variance is a difference of large numbers
    first = tl.sum(tl.sum(tl.load(sums_ptr + place, mask=inside, other=0.0).to(tl.float64), 0), 0)
    second = tl.sum(tl.sum(tl.load(sums_ptr + place + C, mask=inside, other=0.0).to(tl.float64), 0), 0)
    count = pixels * (C // G)
    mean = first / count
    variance = second / count - mean * mean
    rstd = 1.0 / tl.sqrt((variance + epsilon).to(tl.float32))
    mean = mean.to(tl.float32)
    weight = tl.load(weight_ptr + channel, mask=lane < C // G, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + channel, mask=lane < C // G, other=0.0).to(tl.float32)
    scale = rstd * weight
    tl.store(scale_ptr + n * C + channel, scale, mask=lane < C // G)
    tl.store(shift_ptr + n * C + channel, bias - mean * scale, mask=lane < C // G)
    tl.store(mean_ptr + n * G + group, mean)
    tl.store(rstd_ptr + n * G + group, rstd)


@triton.jit
def gradient_finish(
    sums_ptr, weight_ptr, mean_ptr, rstd_ptr, slope_ptr, level_ptr, pixels, programs,
    C: tl.constexpr, G: tl.constexpr, WIDE: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """What of the gradient comes by mean and deviation: slope x + level, the same for a group's channels."""
    n = tl.program_id(1)
    group = tl.program_id(0)
    lane = tl.arange(0, WIDE)
    channel = group * (C // G) + lane
    block = tl.arange(0, BLOCKS)
    inside = (block < programs)[:, None] & (lane < C // G)[None, :]
    place = (n * programs + block)[:, None] * 2 * C + channel[None, :]
    weight = tl.load(weight_ptr + channel, mask=lane < C // G, other=0.0).to(tl.float64)
    of_dz = tl.sum(tl.load(sums_ptr + place, mask=inside, other=0.0).to(tl.float64), 0)
    of_dz_x = tl.sum(tl.load(sums_ptr + place + C, mask=inside, other=0.0).to(tl.float64), 0)
    mean = tl.load(mean_ptr + n * G + group).to(tl.float64)
    rstd = tl.load(rstd_ptr + n * G + group).to(tl.float64)
    count = pixels * (C // G)
    a = tl.sum(weight * of_dz, 0) / count
    b = tl.sum(weight * (of_dz_x - mean * of_dz), 0) * rstd / count
    slope = -rstd * rstd * b
    level = -rstd * a - slope * mean
    blank = tl.zeros((WIDE,), tl.float32)
    tl.store(slope_ptr + n * C + channel, blank + slope.to(tl.float32), mask=lane < C // G)
    tl.store(level_ptr + n * C + channel, blank + level.to(tl.float32), mask=lane < C // G)


@triton.jit
def apply(
    x_ptr, scale_ptr, shift_ptr, y_ptr, pixels,
    C: tl.constexpr, LANES: tl.constexpr, TILE: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    """The activation of scale x + shift."""
    n = tl.program_id(1)
    channel = tl.arange(0, LANES)
    row = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = (row < pixels)[:, None] & (channel < C)[None, :]
    place = (n.to(tl.int64) * pixels + row)[:, None] * C + channel[None, :]
    scale = tl.load(scale_ptr + n * C + channel, mask=channel < C, other=0.0)
    shift = tl.load(shift_ptr + n * C + channel, mask=channel < C, other=0.0)
    z = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32) * scale[None, :] + shift[None, :]
    if SILU:
        z *= tl.sigmoid(z)
    tl.store(y_ptr + place, z.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def gradient_apply(
    x_ptr, dy_ptr, scale_ptr, shift_ptr, slope_ptr, level_ptr, dx_ptr, pixels,
    C: tl.constexpr, LANES: tl.constexpr, TILE: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    """The gradient by x: scale dz + slope x + level."""
    n = tl.program_id(1)
    channel = tl.arange(0, LANES)
    row = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = (row < pixels)[:, None] & (channel < C)[None, :]
    place = (n.to(tl.int64) * pixels + row)[:, None] * C + channel[None, :]
    scale = tl.load(scale_ptr + n * C + channel, mask=channel < C, other=0.0)[None, :]
    shift = tl.load(shift_ptr + n * C + channel, mask=channel < C, other=0.0)[None, :]
    slope = tl.load(slope_ptr + n * C + channel, mask=channel < C, other=0.0)[None, :]
    level = tl.load(level_ptr + n * C + channel, mask=channel < C, other=0.0)[None, :]
    x = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32)
    dz = tl.load(dy_ptr + place, mask=inside, other=0.0).to(tl.float32)
    if SILU:
        dz *= _silu_slope(x * scale + shift)
    dx = scale * dz + slope * x + level
    tl.store(dx_ptr + place, dx.to(dx_ptr.dtype.element_ty), mask=inside)
