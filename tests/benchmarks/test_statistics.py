"""Figures of tables against closed forms and brute force."""

import itertools
import math

import numpy as np
import pytest

from benchmarks.statistics import clear_in_print, figures_of, hits_of, mcnemar


def test_a_hit_is_more_similar_than_all_others() -> None:
    similarities = np.array([[0.3, 0.2, 0.1], [0.3, 0.3, 0.1], [0.1, 0.5, 0.2], [0.1, 0.2, 0.3]])
    assert hits_of(similarities, [0, 1, 2, 2]).tolist() == [True, False, False, True]  # a tie is no hit
    assert similarities[0, 0] == 0.3


def test_figures_are_shares_means_and_their_errors() -> None:
    similarities = np.array([[0.3, 0.2], [0.1, 0.4], [0.2, 0.1], [0.5, 0.1]])
    figures = figures_of(similarities, [0, 1, 1, 0])
    assert (figures.hits, figures.count, figures.r_precision) == (3, 4, 0.75)
    assert figures.r_precision_error == pytest.approx(math.sqrt(0.75 * 0.25 / 4))
    cosines = [0.3, 0.4, 0.1, 0.5]
    assert figures.similarity == pytest.approx(0.325)
    deviation = math.sqrt(sum((c - 0.325) ** 2 for c in cosines) / 3)
    assert figures.similarity_error == pytest.approx(deviation / 2)
    assert math.isnan(figures_of(similarities[:1], [0]).similarity_error)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (2, 1), (0, 5), (3, 3), (6, 1)])
def test_mcnemar_is_the_share_of_all_coin_tosses_at_least_as_uneven(first: int, second: int) -> None:
    a = np.array([True] * first + [False] * second + [True, False])  # what both hit or both miss does not count
    b = np.array([False] * first + [True] * second + [True, False])
    tosses = list(itertools.product((0, 1), repeat=first + second))
    uneven = [abs(2 * sum(toss) - len(toss)) >= abs(first - second) for toss in tosses]
    assert mcnemar(a, b) == pytest.approx(sum(uneven) / len(tosses))
    assert mcnemar(b, a) == mcnemar(a, b)


def test_mcnemar_of_many_pairs_does_not_underflow() -> None:
    first = np.ones(3000, dtype=bool)
    first[1400:] = False
    assert mcnemar(first, ~first) == pytest.approx(math.erfc((200 - 1) / math.sqrt(3000) / math.sqrt(2)), rel=0.02)


def test_what_print_says_clearly() -> None:
    assert clear_in_print(0.57, 0.781, 128)
    assert not clear_in_print(0.781, 0.813, 128)
    assert not clear_in_print(0.5, 0.5, 128)
    assert not clear_in_print(1.0, 1.0, 128)
