"""What does a graphics card do with every network and method here? Floors, tests, errors and times, part by part.

    python -m benchmarks.gpu --out gpu.json [--minutes 6] [--only PART,PART] [--dry-run] [--wheels]

Everything runs from the tree with random weights; nothing is downloaded. The parts run in the order of their value, in
a process and with a limit of their own, and the file has what is measured so far after each: a run that is ended keeps
it. A part whose package is missing says so and is left out; `--wheels` lists what is missing and how to
fetch it elsewhere. `--dry-run` runs everything on the CPU at tiny sizes. `python -m benchmarks.gpu.tables gpu.json`
writes the figures as Markdown.
"""
