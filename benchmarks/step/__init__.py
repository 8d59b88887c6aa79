"""How long does one optimization step of text to SVG take, where does its time go, and how exact is its gradient?

    python -m benchmarks.step [--bundle icons] [--weights FOLDER] [--baseline] [--device cuda] [--json]

An icon from scratch at the preset's own settings. Every way to run the networks that this machine has takes its turn in
rounds of some steps, in one run, on the same views, times and noise. `--baseline` adds the recipe that peers run
(`benchmarks.step.baseline`). Errors are those of the gradient by the scene's points and colours, against the same step
with PyTorch float32 networks: the least cosine of some draws. What a table leaves out, this machine has not.
"""
