"""A table in print: ours beside the thesis', and which of its orders hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from benchmarks.statistics import clear_in_print, figures_of, hits_of, mcnemar
from benchmarks.tables.definitions import Row, Table
from benchmarks.tables.records import Record


@dataclass(frozen=True)
class Judged:
    """A row and one judge's results of its drawings, by caption."""

    row: Row
    records: Mapping[str, Record]

    def matrix(self, captions: Sequence[str]) -> np.ndarray:
        """Return the similarities, in the order of the captions."""
        return np.array([self.records[caption].similarity for caption in captions], dtype=np.float64)


def consistency_lines(table: Table, judged: Sequence[Judged], captions: Sequence[str]) -> Iterator[str]:
    """Yield the table of R-Precision and similarity by one judge.

    Args:
        table: of the thesis.
        judged: its rows.
        captions: all of them; those that are drawn are the rows' own.
    """
    index = {caption: i for i, caption in enumerate(captions)}
    yield "| row | k/n | R-Prec % | Sim x 100 | thesis, L/14: R-Prec, Sim | thesis, H/14 | note |"
    yield "|---|---|---|---|---|---|---|"
    for one in judged:
        drawn = list(one.records)
        ours = "| | "
        if drawn:
            figures = figures_of(one.matrix(drawn), [index[caption] for caption in drawn])
            share = f"{100 * figures.r_precision:.1f} ± {100 * figures.r_precision_error:.1f}"
            ours = f"{figures.hits}/{figures.count} | {share} | "
            ours += f"{100 * figures.similarity:.1f} ± {100 * figures.similarity_error:.1f}"
        printed = " | ".join(_pair(pair) for pair in (one.row.published.l14, one.row.published.h14))
        yield f"| {label(one.row)} | {ours} | {printed} | {one.row.note} |"
    yield ""
    yield from order_lines(table, judged, index)


def order_lines(table: Table, judged: Sequence[Judged], index: Mapping[str, int]) -> Iterator[str]:
    """Yield a line for each order of two rows that is clear in print, by both judges, and how it came out here."""
    for first, second in combinations(judged, 2):
        shares = [
            [pair[0] / 100 for pair in (one.row.published.l14, one.row.published.h14) if pair]
            for one in (first, second)
        ]
        gaps = [a - b for a, b in zip(*shares, strict=True)]
        clear = gaps and all(clear_in_print(a, b, table.captions) for a, b in zip(*shares, strict=True))
        common = [caption for caption in first.records if caption in second.records]
        if not clear or len({gap > 0 for gap in gaps}) > 1 or not common:
            continue
        better, worse = (first, second) if gaps[0] > 0 else (second, first)
        own = [index[caption] for caption in common]
        hits = [hits_of(one.matrix(common), own) for one in (better, worse)]
        ahead = int(hits[0].sum()) - int(hits[1].sum())
        outcome = "holds" if ahead > 0 else "is reversed" if ahead < 0 else "is a tie"
        thesis = ", ".join(f"{100 * abs(gap):+.1f}" for gap in gaps)
        counts = f"{int(hits[0].sum())} to {int(hits[1].sum())} of {len(common)}"
        yield (
            f"- {label(better.row)} > {label(worse.row)}: thesis {thesis}; here {counts}, "
            f"p = {mcnemar(*hits):.2g}: {outcome}"
        )


def aesthetics_lines(judged: Sequence[Judged]) -> Iterator[str]:
    """Yield the table of aesthetics scores."""
    yield "| row | n | mean ± deviation | thesis |"
    yield "|---|---|---|---|"
    for one in judged:
        scores = np.array([record.similarity[0] for record in one.records.values()], dtype=np.float64)
        deviation = scores.std(ddof=1) if len(scores) > 1 else float("nan")
        ours = f"{scores.mean():.2f} ± {deviation:.2f}" if len(scores) else ""
        printed = one.row.published.aesthetic
        thesis = "" if printed is None else f"{printed[0]:.2f} ± {printed[1]:.2f}"
        yield f"| {label(one.row)} | {len(scores)} | {ours} | {thesis} |"


def label(row: Row) -> str:
    """Return a row's name with what tells it from others of its name: K and paths."""
    marks = [f"K = {row.options['samples']}"] if "samples" in row.options else []
    if "paths" in row.options and row.options.get("preset") != "pixel":
        marks.append(f"{row.options['paths']} paths")
    if row.options.get("reinitialize") is False:
        marks.append("no reinitialization")
    return ", ".join([row.name, *marks])


def _pair(pair: tuple[float, float] | None) -> str:
    return "" if pair is None else f"{pair[0]:.1f}, {pair[1]:.1f}"
