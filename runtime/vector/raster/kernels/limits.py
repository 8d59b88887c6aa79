"""How far outlines may stray from curves, in numbers that kernels and their twins share."""

TOLERANCE = 0.02
"""Largest distance between a curve and the chord of one of its edges, in output pixels, before the area correction,
which leaves two thirds of it at the vertices and a third, on the other side, between."""

STRAIGHT = 0.1
"""A segment whose chord is this much of the tolerance off, or less, is one edge; others are two or more."""

STROKE_TOLERANCE = 0.01
"""Largest distance between a stroke's round pen and its polygon, in output pixels."""

MAX_EDGES = 1024
"""Most edges of one cubic segment: reached only by segments of a million pixels."""
