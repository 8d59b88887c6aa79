"""The ranges of a configuration's numbers: written once, in the annotation, and checked in one wording.

An annotation such as `Annotated[int, Interval(ge=1, le=100_000)]` is all that a field needs: the check, its message and
the help take the range from there.
"""

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from annotated_types import BaseMetadata, Ge, GroupedMetadata, Gt, Interval, Le, Lt

from runtime.errors import UserError

_BOUNDS = (Ge, Gt, Le, Lt)

Count = Annotated[int, Interval(ge=1, le=10**9)]
"""Of things of which there has to be one."""

Whole = Annotated[int, Interval(ge=0, le=10**9)]
"""Of things of which there may be none."""

Threads = Annotated[int, Interval(ge=1, le=1024)]

Seed = Annotated[int, Interval(ge=0, le=2**63 - 1)]

Share = Annotated[float, Interval(ge=0, le=1)]

LearningRate = Annotated[float, Interval(gt=0, le=100)]

Amount = Annotated[float, Interval(ge=0, le=10**6)]
"""Weight of a term, a factor, or a time that may be 0."""

Duration = Annotated[float, Interval(gt=0, le=10**6)]
"""A time, or something else that cannot be 0."""


def check_ranges(config: Any) -> None:
    """Raise a `UserError` for the first number of a dataclass outside the range of its annotation.

    Numbers inside a tuple are checked by the annotation of its elements.
    """
    for name, annotation in get_type_hints(type(config), include_extras=True).items():
        _check(option_name(name), getattr(config, name), annotation)


def check_nodes(nodes: int, divisor: int) -> None:
    """Raise a `UserError` unless a grid's intervals, one fewer than its nodes, are a multiple of `divisor`.

    Args:
        nodes: of the grid along an axis, at least `divisor` and one more.
        divisor: intervals of the finest grid in one of the coarsest.
    """
    if (nodes - 1) % divisor:
        near = divisor * round((nodes - 1) / divisor) + 1
        raise UserError(f"--nodes: expected a multiple of {divisor} and one more, such as {near}, got {nodes}")


def describe_range(annotation: Any) -> str:
    """Return the range of an annotated number in words, such as "1 to 100000"; empty where it has none."""
    bounds = list(_bounds(annotation))
    low = next((bound for bound in bounds if isinstance(bound, Ge | Gt)), None)
    high = next((bound for bound in bounds if isinstance(bound, Le | Lt)), None)
    lowest = "" if low is None else f"{low.ge}" if isinstance(low, Ge) else f"above {low.gt}"
    most = "" if high is None else f"{high.le}" if isinstance(high, Le) else f"less than {high.lt}"
    if lowest and most:
        return f"{lowest} to {most}"
    if lowest:
        return f"at least {lowest}" if isinstance(low, Ge) else lowest
    return f"at most {most}" if isinstance(high, Le) else most


def option_name(field: str) -> str:
    """Return the option that sets a field: --sample-omega for sample_omega."""
    return f"--{field.replace('_', '-')}"


def _check(option: str, value: Any, annotation: Any) -> None:
    if isinstance(value, tuple):
        kinds = _kinds(annotation)
        if kinds[-1:] == (...,):
            # Of any length: one annotation for all elements.
            kinds = kinds[:1] * len(value)
        # A pair, such as a range of angles: each of its ends has an annotation of its own.
        for element, inner in zip(value, kinds, strict=True):
            _check(option, element, inner)
        return
    # None stands for a default that depends on something else, and has no range.
    if value is None or all(_holds(bound, value) for bound in _bounds(annotation)):
        return
    raise UserError(f"{option}: expected {describe_range(annotation)}, got {value}")


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the annotations of a tuple's elements, also of one that is annotated itself or may be None."""
    if get_origin(annotation) is tuple:
        return get_args(annotation)
    return next((kinds for part in get_args(annotation) if (kinds := _kinds(part))), ())


def _bounds(annotation: Any) -> Iterator[BaseMetadata]:
    """Yield the bounds of an annotation, those of an `Interval` one by one; also of `Annotated[...] | None`."""
    if get_origin(annotation) is not Annotated:
        # Through unions, too: the range of `Annotated[int, ...] | None` is that of its number.
        for part in get_args(annotation):
            yield from _bounds(part)
        return
    for entry in get_args(annotation)[1:]:
        for bound in entry if isinstance(entry, GroupedMetadata) else (entry,):
            if isinstance(bound, _BOUNDS):
                yield bound


def _holds(bound: BaseMetadata, value: Any) -> bool:
    """Return whether a number keeps a bound; NaN keeps none."""
    if isinstance(bound, Ge):
        return bool(value >= bound.ge)
    if isinstance(bound, Gt):
        return bool(value > bound.gt)
    if isinstance(bound, Le):
        return bool(value <= bound.le)
    assert isinstance(bound, Lt)
    return bool(value < bound.lt)
