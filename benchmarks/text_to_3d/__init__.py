"""Does text become an object that looks like it from all around? Rows of methods, judged by what guides none of them.

    python -m benchmarks.text_to_3d --judge JUDGE.safetensors --data objects --icons data/icons.npz
    python -m benchmarks.text_to_3d --judge JUDGE.safetensors --stored --sheet sheet.png
    python -m benchmarks.text_to_3d --judge JUDGE.safetensors --table 4.1 --prompts 4

Each row draws the prompts of `prompts.txt` with its command's own options. A job, one prompt by one row, is drawn once,
in a process of its own, and kept in `--out`: the field, a PNG of its views and a JSON of its shape and CPU seconds;
without `--judge` that is all. The judge, which is trained where its file is missing (`benchmarks.text_to_3d.training`),
sees an object from 8 azimuths and 2 elevations, in its colours and as a grey mesh under a lamp, and says which of all
prompts each view fits best. R-Precision is the share of views that it takes for their own prompt; k/n counts objects
whose mean similarity is greatest with it. Standard errors are those of objects. The Janus score is the share of views
from the sides and from behind that the judge takes for the front.
"""
