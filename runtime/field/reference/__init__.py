"""Readable twins of the field's kernels, in PyTorch and differentiable."""
