"""How many rays a second does a field take, forward and backward? Ours, its twin, grid_sample, and the thesis' network.

    python -m benchmarks.field [--json] [--threads N] [--only NAME]

All draw the same rays of the example capture, fitted before the clock starts. A rate is rays over seconds of the
processor (all threads), which other programs on the machine change less than the time on the clock; both are printed.
"""
