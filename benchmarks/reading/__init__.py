"""How many SVG files of real icon sets, and of resvg's tests, are read right, named, refused, or silently wrong?

    python -m benchmarks.reading --folder icons --download [--wrong wrong.txt]
    python -m benchmarks.reading --files resvg/crates/resvg/tests/tests

`--download` brings icon sets of fixed versions from the npm registry, by `npm pack`, into the folder; without it, what
is there is read. Every file is read and drawn, and resvg (`pip install resvg-py`), or a PNG of the same name beside the
file, says how it should look. Right: the two pictures agree, with or without a note. Named: they differ, and a note of
the reader says what was left out or read nearly. Refused: an error in words. Wrong: they differ, and nothing was said.
A file that resvg cannot draw counts for nothing.
"""
