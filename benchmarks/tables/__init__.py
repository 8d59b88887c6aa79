"""The thesis' tables of text to SVG, 6.1 and 11.2 to 11.8, beside ours: which orders of the rows hold?

    python -m benchmarks.tables --table 6.1 --judge icons:runs/consistency/evaluator.safetensors --prompts 16

Every row of a table is a configuration of a method; every job is one caption by one row, drawn with the command's own
defaults but for what the row says. A drawing, and what each judge thinks of it, is stored in `--out` as soon as it is
there: an interrupted run resumes, and figures are computed from what is stored. Jobs run on all cores, one a process.

A judge must not be what guides or selects the drawings: a judge with the drawing bundle's own image encoder is refused.
`BUNDLE:HEADS.safetensors` are the five heads of `benchmarks.consistency`, which read sentences by the bundle's text
encoder; `BUNDLE` alone is the image-text encoder of another bundle, such as CLIP ViT-L/14 exported into one.
"""
