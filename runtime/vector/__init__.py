"""Vector graphics: paths, an exact differentiable rasterizer, SVG files, layer-wise tracing."""
