"""The tables in print: R-Precision with its standard error, Janus score, hull share, CPU seconds, orders."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from benchmarks.statistics import clear_in_print, figures_of, hits_of
from benchmarks.text_to_3d.definitions import Prompt
from benchmarks.text_to_3d.records import Record, Row3d

if TYPE_CHECKING:
    from benchmarks.text_to_3d.reference import Seen

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """A mean over objects, with its standard error."""

    mean: float
    error: float
    """NaN for fewer than two objects."""
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Share":
        """Return it of one value an object."""
        array = np.array(values, dtype=np.float64)
        error = float(array.std(ddof=1)) / math.sqrt(len(array)) if len(array) > 1 else math.nan
        return cls(float(array.mean()) if len(array) else math.nan, error, len(array))

    def percent(self) -> str:
        """Return it as `12.3 ± 4.5`."""
        if not self.count:
            return ""
        error = "" if math.isnan(self.error) else f" ± {100 * self.error:.1f}"
        return f"{100 * self.mean:.1f}{error}"


def share_of_views(similarities: Sequence[Sequence[float]], own: int) -> float:
    """Return the share of an object's views that are most similar to their own prompt."""
    matrix = np.array(similarities, dtype=np.float64)
    return float(hits_of(matrix, [own] * len(matrix)).mean())


def percentile(similarities: Sequence[Sequence[float]], own: int) -> float:
    """Return which share of the other prompts an object's views fit less than their own; 0.5 is chance.

    It tells objects apart that find no prompt. Ties count half.
    """
    matrix = np.array(similarities, dtype=np.float64)
    right, others = matrix[:, own, None], np.delete(matrix, own, axis=1)
    return float(((others < right) + 0.5 * (others == right)).mean())


def hits(judged: Sequence["Record | Seen"], index: Mapping[str, int]) -> tuple[int, int]:
    """Return how many objects are, over all views, most similar to their own prompt, and of how many."""
    if not judged:
        return 0, 0
    means = np.array([np.mean(one.colour, axis=0) for one in judged])
    figures = figures_of(means, [index[one.prompt] for one in judged])
    return figures.hits, figures.count


def behind(views: Sequence[T], azimuths: int) -> list[T]:
    """Return those of an object's views that show a side or the back: azimuths from 90 to 270 degrees.

    Args:
        views: elevation by elevation, from the front on.
        azimuths: around.
    """
    return [view for i, view in enumerate(views) if 90 <= 360 / azimuths * (i % azimuths) <= 270]


def janus(sides: Sequence[int], azimuths: int) -> tuple[float, float]:
    """Return which share of side and back views is taken for the front, and of how many azimuths all views are.

    Args:
        sides: what each view is taken for, elevation by elevation, from the front on.
        azimuths: around.
    """
    return float(np.mean(np.array(behind(sides, azimuths)) == 0)), float(np.mean(np.array(sides) == 0))


def lines_of(
    table: str,
    rows: Sequence[Row3d],
    real: Sequence["Seen"] | None,
    prompts: Sequence[Prompt],
    icons: Sequence["Seen"] | None = None,
) -> Iterator[str]:
    """Yield the table and what follows from it.

    Args:
        table: `rows`, or a number of the thesis.
        rows: in the order of the table.
        real: what the judge says of real objects.
        prompts: all of them.
        icons: what it says of real icons.
    """
    index = {prompt.text: i for i, prompt in enumerate(prompts)}
    if table == "rows":
        yield from _method_lines(rows, real, icons, prompts, index)
    else:
        yield from _prior_lines(rows, index)
        yield ""
        yield from order_lines(rows, index)


def _method_lines(
    rows: Sequence[Row3d],
    real: Sequence["Seen"] | None,
    icons: Sequence["Seen"] | None,
    prompts: Sequence[Prompt],
    index: Mapping[str, int],
) -> Iterator[str]:
    fronts = {prompt.text for prompt in prompts if prompt.has_front}
    ours = {prompt.text for prompt in prompts if prompt.in_objects}
    yield (
        "| row | objects k/n | kinds of the set | new kinds | views % | kinds of the set | sides and backs | "
        "textureless | Janus % | taken for the front % | hull share | CPU s |"
    )
    yield "|---" * 12 + "|"
    if real is not None:
        yield _method_line("real objects, held out", real, fronts, ours, index, 12)
    if icons is not None:
        yield _method_line("real icons, held out, one view", icons, set(), ours, index, 1)
    for row in rows:
        yield _method_line(row.row.name, list(row.records.values()), fronts, ours, index, 8)
    if real:
        best = Share.of([share_of_views(one.colour, index[one.prompt]) for one in real]).mean
        yield ""
        for row in rows:
            own = [r for r in row.records.values() if r.prompt in ours]
            share = Share.of([share_of_views(one.colour, index[one.prompt]) for one in own])
            ratio = f"{share.mean / best:.2f} of the real objects' share of views"
            yield f"- {row.row.name}: {ratio} ({share.count} prompts)"


def _method_line(
    name: str,
    judged: Sequence["Record | Seen"],
    fronts: set[str],
    ours: set[str],
    index: Mapping[str, int],
    azimuths: int,
) -> str:
    own = [one for one in judged if one.prompt in ours]
    new = [one for one in judged if one.prompt not in ours]
    views = Share.of([share_of_views(one.colour, index[one.prompt]) for one in judged])
    set_views = Share.of([share_of_views(one.colour, index[one.prompt]) for one in own])
    around = [(behind(one.colour, azimuths), index[one.prompt]) for one in judged]
    hidden = Share.of([share_of_views(*pair) for pair in around if pair[0]])
    grey = Share.of([share_of_views(one.textureless, index[one.prompt]) for one in judged])
    turned = [janus(one.sides, azimuths) for one in judged if one.prompt in fronts]
    records = [one for one in judged if isinstance(one, Record)]
    hull = Share.of([one.hull_share for one in records if one.hull_share is not None])
    seconds = Share.of([one.cpu_s for one in records])
    cells = [
        name,
        *("{}/{}".format(*hits(some, index)) for some in (judged, own, new)),
        views.percent(),
        set_views.percent(),
        hidden.percent(),
        grey.percent(),
        Share.of([pair[0] for pair in turned]).percent(),
        Share.of([pair[1] for pair in turned]).percent(),
        f"{hull.mean:.2f}" if hull.count else "",
        f"{seconds.mean:.0f}" if seconds.count else "",
    ]
    return "| " + " | ".join(cells) + " |"


def _prior_lines(rows: Sequence[Row3d], index: Mapping[str, int]) -> Iterator[str]:
    yield "| row | objects k/n | views % | textureless views % | percentile % | thesis % | CPU s |"
    yield "|---" * 7 + "|"
    for row in rows:
        judged = list(row.records.values())
        views = Share.of([share_of_views(one.colour, index[one.prompt]) for one in judged])
        grey = Share.of([share_of_views(one.textureless, index[one.prompt]) for one in judged])
        ranks = Share.of([percentile(one.colour, index[one.prompt]) for one in judged])
        published = ""
        if row.row.published is not None:
            share = row.row.published / 100
            published = f"{row.row.published:.1f} ± {100 * math.sqrt(share * (1 - share) / row.row.count):.1f}"
        seconds = Share.of([one.cpu_s for one in judged])
        right = "{}/{}".format(*hits(judged, index))
        took = f"{seconds.mean:.0f}" if seconds.count else ""
        cells = (row.row.name, right, views.percent(), grey.percent(), ranks.percent(), published, took)
        yield f"| {' | '.join(cells)} |"


def order_lines(rows: Sequence[Row3d], index: Mapping[str, int]) -> Iterator[str]:
    """Yield each order of two rows that is clear in print, and how it came out here, on the prompts of both.

    What is compared is the share of views that find their prompt, then the percentile of their own among all; an order
    holds or is reversed where the difference is over two standard errors of its mean, and is open otherwise.
    """
    for first, second in combinations(rows, 2):
        a, b = first.row, second.row
        if (
            a.published is None
            or b.published is None
            or not clear_in_print(a.published / 100, b.published / 100, a.count)
        ):
            continue
        better, worse = (first, second) if a.published > b.published else (second, first)
        both = [prompt for prompt in better.records if prompt in worse.records]
        if not both:
            continue
        outcomes = []
        for name, figure in (("views", share_of_views), ("percentile", percentile)):
            ahead = Share.of(
                [figure(better.records[p].colour, index[p]) - figure(worse.records[p].colour, index[p]) for p in both]
            )
            # Two prompts with equal differences have no error: that is chance, and nothing is clear by it.
            clear = ahead.count > 2 and abs(ahead.mean) > 2 * ahead.error
            outcome = ("holds" if ahead.mean > 0 else "is reversed") if clear else "is open"
            error = "" if math.isnan(ahead.error) else f" ± {100 * ahead.error:.1f}"
            outcomes.append(f"{name} {100 * ahead.mean:+.1f}{error}, {outcome}")
        yield (
            f"- {better.row.name} > {worse.row.name}: thesis {abs(a.published - b.published):+.1f}; here, of "
            f"{len(both)}: {'; '.join(outcomes)}"
        )
