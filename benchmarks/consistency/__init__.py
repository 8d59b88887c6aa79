"""How consistent with their captions are pictures and SVGs? R-Precision over 64 captions (thesis 6.5.1).

    python -m benchmarks.consistency --icons data/icons.npz [--routes trace scratch] [--json]

For each caption of `captions.txt`, or of `--captions FILE --lines 1-16,20`, it draws the best of K raster samples, an
SVG from scratch and an SVG by the whole pipeline, with the command's own defaults, and keeps them in `--out`, so that
an interrupted run resumes. The judge is `benchmarks.consistency.evaluator`. The reference row is real icons of the set
that the judge has never seen. A concept that this set lacks is left out of that row only. Another row has the same
icons, encoded and decoded by the bundle and smoothed, as samples are: what its autoencoder alone costs.
"""
