"""Figures from similarities, by hand."""

import math

import pytest

from benchmarks.text_to_3d.definitions import Prompt, Row
from benchmarks.text_to_3d.records import Record, Row3d
from benchmarks.text_to_3d.report import Share, behind, hits, janus, lines_of, order_lines, percentile, share_of_views

PROMPTS = (Prompt("a cat", True, True), Prompt("a pie", False, False), Prompt("a key", False, False))
INDEX = {prompt.text: i for i, prompt in enumerate(PROMPTS)}


def record(prompt: str, right: int, *, fronts: int = 0) -> Record:
    """Return a record of 16 views, the first of which fit their prompt."""
    own = INDEX[prompt]
    views = [[float((own if view < right else (own + 1) % 3) == i) for i in range(3)] for view in range(16)]
    return Record(
        job="j",
        prompt=prompt,
        row="lift icons",
        seed=0,
        sha256="s",
        judge="judge",
        captions="c",
        colour=views,
        textureless=views[::-1],
        sides=[0] * fronts + [2] * (16 - fronts),
        hull_share=0.5,
        cpu_s=7.0,
    )


def test_shares_have_the_error_of_their_objects() -> None:
    share = Share.of([0.0, 1.0, 1.0, 1.0])
    assert (share.mean, share.count) == (0.75, 4) and share.error == pytest.approx(0.25)
    assert share.percent() == "75.0 ± 25.0" and Share.of([0.5]).percent() == "50.0" and Share.of([]).percent() == ""
    assert math.isnan(Share.of([0.5]).error)


def test_views_and_objects_are_counted_by_themselves() -> None:
    assert share_of_views(record("a cat", 4).colour, 0) == 0.25
    # A tie of all views of an object is no hit.
    assert hits([record("a cat", 9), record("a pie", 8), record("a key", 7)], INDEX) == (1, 3)
    assert hits([], INDEX) == (0, 0)


def test_a_percentile_tells_apart_what_finds_no_prompt() -> None:
    # 4 views above both others, 12 below one and level with the other.
    assert percentile(record("a cat", 4).colour, 0) == (4 * 1.0 + 12 * 0.25) / 16
    assert percentile([[0.2, 0.9, 0.1, 0.5, 0.0]], 0) == 0.5 and percentile([[0.2, 0.9, 0.1, 0.5, 0.0]], 4) == 0.0


def test_sides_and_backs_are_five_azimuths_of_eight() -> None:
    assert behind(list(range(16)), 8) == [2, 3, 4, 5, 6, 10, 11, 12, 13, 14]
    assert behind(list(range(12)), 12) == [3, 4, 5, 6, 7, 8, 9] and behind([0], 1) == []


def test_janus_counts_sides_and_backs_alone() -> None:
    sides = [0, 1, 1, 1, 2, 1, 0, 0] * 2
    assert janus(sides, 8) == (0.2, 0.375)
    assert janus([0, 0, 0, 1, 1, 1, 2, 1, 1, 1, 0, 0], 12) == (0.0, 5 / 12)


def test_the_table_has_a_line_a_row() -> None:
    rows = [
        Row3d(Row("lift", "lift"), {"a cat": record("a cat", 16, fronts=16), "a pie": record("a pie", 8)}),
        Row3d(Row("none", "dreamfields"), {}),
    ]
    lines = list(lines_of("rows", rows, None, PROMPTS))
    assert lines[2] == (
        "| lift | 1/2 | 1/1 | 0/1 | 75.0 ± 25.0 | 100.0 | 75.0 ± 25.0 | 75.0 ± 25.0 | 100.0 | 100.0 | 0.50 | 7 |"
    )
    assert lines[3].startswith("| none | 0/0 |") and len(lines) == 4


def test_orders_are_those_that_are_clear_in_print_and_open_within_two_errors() -> None:
    def row(name: str, published: float, rights: list[int]) -> Row3d:
        records = {prompt.text: record(prompt.text, right) for prompt, right in zip(PROMPTS, rights, strict=True)}
        return Row3d(Row(name, "dreamfields", published=published, count=153), records)

    rows = [row("none", 35.3, [0, 1, 0]), row("gated", 34.6, [9, 9, 9]), row("additive", 62.1, [12, 1, 1])]
    lines = list(order_lines(rows, INDEX))
    # none and gated are not clear in print
    assert len(lines) == 2
    assert lines[0].startswith(
        "- additive > none: thesis +26.8; here, of 3: views +27.1 ± 24.0, is open; percentile +20.3 ± 18.0, is open"
    )
    assert (
        lines[1].startswith("- additive > gated: thesis +27.5; here, of 3: views -27.1 ±") and "holds" not in lines[1]
    )
    lines = list(order_lines([rows[0], row("additive", 62.1, [8, 10, 9])], INDEX))
    assert lines[0].count(", holds") == 2
    table = list(lines_of("4.2", rows, None, PROMPTS))
    assert table[2].startswith("| none | 0/3 | 2.1 ± 2.1 |") and "| 26.6 ± 1.6 | 35.3 ± 3.9 | 7 |" in table[2]
