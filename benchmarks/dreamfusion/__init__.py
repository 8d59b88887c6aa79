"""Where does a step of DreamFusion go? CPU time by part, and how much of it is not the frozen networks'.

    python -m benchmarks.dreamfusion --steps 150
    python -m benchmarks.dreamfusion --preset thesis --bundle bundles/sd15 --device cuda --steps 20
    python -m benchmarks.dreamfusion --tiny

All stages of the method run, shortened to so many steps. A bundle with random weights (`python -m export sd --weights
random:sd15`) takes the same time as one with trained weights.
"""
