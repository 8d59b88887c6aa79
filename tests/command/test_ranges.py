from dataclasses import dataclass
from typing import Annotated

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt

from runtime.command.ranges import check_nodes, check_ranges, describe_range
from runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Config:
    count: Annotated[int, Interval(ge=1, le=256)] = 4
    some_rate: Annotated[float, Gt(0), Le(10)] = 1.0
    part: Annotated[float, Ge(0), Lt(1)] | None = None
    pair: tuple[Annotated[int, Ge(50)], Annotated[int, Le(9)]] = (50, 9)
    many: tuple[Annotated[int, Ge(2)], ...] = ()
    words: Annotated[tuple[str, ...], "positional"] = ()
    few: Annotated[tuple[Annotated[int, Ge(2)], ...] | None, "an option"] = None
    name: str = ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "--count: expected 1 to 256, got 0"),
        ({"count": 257}, "--count: expected 1 to 256, got 257"),
        ({"some_rate": 0.0}, "--some-rate: expected above 0 to 10, got 0.0"),
        ({"some_rate": 10.5}, "--some-rate: expected above 0 to 10, got 10.5"),
        ({"some_rate": float("nan")}, "--some-rate: expected above 0 to 10, got nan"),
        ({"part": 1.0}, "--part: expected 0 to less than 1, got 1.0"),
        ({"pair": (49, 9)}, "--pair: expected at least 50, got 49"),
        ({"pair": (50, 10)}, "--pair: expected at most 9, got 10"),
        ({"many": (2, 3, 1)}, "--many: expected at least 2, got 1"),
        ({"few": (2, 0)}, "--few: expected at least 2, got 0"),
    ],
)
def test_a_number_out_of_range_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_ranges(Config(**values))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"count": 1},
        {"count": 256},
        {"some_rate": 1e-9},
        {"some_rate": 10},
        {"part": 0.0},
        {"many": (2, 9)},
        {"words": ("a", "b")},
        {"few": (2,)},
    ],
)
def test_a_bound_that_is_included_is_in_range(values: dict[str, object]) -> None:
    check_ranges(Config(**values))


def test_bounds_in_words() -> None:
    assert describe_range(Annotated[int, Gt(3)]) == "above 3"
    assert describe_range(Annotated[int, Lt(3)]) == "less than 3"
    assert describe_range(int) == ""


@pytest.mark.parametrize(("nodes", "divisor", "near"), [(66, 4, 65), (98, 4, 97), (100, 8, 97), (103, 8, 105)])
def test_nodes_whose_intervals_cannot_be_divided_are_refused(nodes: int, divisor: int, near: int) -> None:
    with pytest.raises(UserError) as caught:
        check_nodes(nodes, divisor)
    assert str(caught.value) == f"--nodes: expected a multiple of {divisor} and one more, such as {near}, got {nodes}"
    check_nodes(near, divisor)
