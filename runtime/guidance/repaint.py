"""Completion of pictures by a diffusion model that was never trained for it: RePaint (arXiv:2201.09865).

At each step what is observed is noised to the step's time and put in place, and the rest is drawn by the model. So that
the two come to fit each other, the way goes back some steps by adding noise, and down again, several times.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from runtime.guidance.diffusion import Transition
from runtime.guidance.solvers import Ancestral, Predict, State

Move = tuple[int, int]
"""From one place on the way to another: places number the visited times, and the last one is the clean picture."""


def plan_moves(steps: int, jump: int, resamples: int) -> list[Move]:
    """Return the moves from pure noise, place 0, to the clean picture, place `steps`.

    Args:
        steps: times that are visited, at least 1.
        jump: steps of a way back, at least 1.
        resamples: how often each stretch of `jump` steps is gone down, at least 1; 1 never goes back.
    """
    moves: list[Move] = []
    for place in range(steps):
        moves.append((place, place + 1))
        # The clean picture is no time to go back from: what is drawn there is the result.
        if (place + 1) % jump or place + 1 == steps:
            continue
        first = place + 1 - jump
        for _ in range(resamples - 1):
            moves.append((place + 1, first))
            moves += [(i, i + 1) for i in range(first, place + 1)]
    return moves


def advance(
    sampler: Ancestral,
    predict: Predict,
    state: State,
    move: Move,
    x: Float[Tensor, "1 C H W"],
    hidden: Bool[Tensor, "H W"],
    generator: torch.Generator,
) -> State:
    """Return the state after a move.

    Args:
        sampler: the reverse steps along the visited times.
        predict: the network's noise.
        state: noisy pictures at the time of the move's beginning.
        move: of `plan_moves`.
        x: the observed picture, in [-1, 1].
        hidden: true where it is not observed.
        generator: of the draws.
    """
    begin, end = move
    schedule, visited = sampler.schedule, sampler.visited
    # Drawn for every move, used or not: so each move takes the same draws, whatever came before.
    noise = torch.randn(state.z.shape, generator=generator, dtype=state.z.dtype)
    if end < begin:
        # Forward diffusion from a time with less noise to one with more, in one draw for all of the jump.
        back = Transition.of(schedule, visited[end], visited[begin])
        return State(back.ratio * state.z + back.added.sqrt() * noise, state.x_hat)
    drawn = sampler.advance(predict, state, begin, generator)
    if end == len(visited):
        # What is observed comes back to the bit; nothing of it passes through the network.
        whole = torch.where(hidden, drawn.x_hat, x)
        return State(whole, whole)
    observed = schedule.alphas[visited[end]] * x + schedule.sigmas[visited[end]] * noise
    return State(torch.where(hidden, drawn.z, observed), drawn.x_hat)
