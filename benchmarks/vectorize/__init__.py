"""How near, small and fast are traced pictures? Ours beside vtracer's, on committed pictures of our own.

    python -m benchmarks.vectorize [--peer vtracer] [--sheet sheet.png]

The pictures lie in `pictures/`; `python -m benchmarks.vectorize.make_pictures` draws them anew. Each is traced by
`runtime.vectorize` with its defaults and by vtracer (`pip install vtracer`) with its own. resvg draws both SVGs, over
white and over black, and the PSNR is that of both together; where nothing differs it is 90. Paths are those of the
file, nodes its segments. Seconds are CPU seconds of the tracing alone, the second time, when kernels are compiled.
"""
