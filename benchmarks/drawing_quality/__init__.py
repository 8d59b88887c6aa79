"""How clean are traced drawings? Nodes, slivers, turning, hidden paths and colours, ours beside vtracer's.

    python -m benchmarks.drawing_quality --samples runs/tables/samples [--sheet sheet.png]

Each picture is traced by text to SVG's tracers with 64 paths at most, from contours and by LIVE (`--tracer live`), the
former is also tidied (`--tidy`), and vtracer (`pip install vtracer`) traces it with its defaults. `--drawings` measures
SVG files as they are, such as icons drawn by people. A sliver is narrower than 5 of 600 pixels on average, area over
half the perimeter. Turning is the sum of a path's changes of direction in full turns: 1 for what is convex. A path is
hidden where the picture without it is the same but for a mean squared error of 1e-6. Slits are gaps narrower than 3 of
128 pixels through which the paper shows, in square pixels of a canvas of 128.
"""
