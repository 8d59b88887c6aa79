"""Readable twins of the field's kernels, in PyTorch and differentiable: `runtime.field.kernels` must agree with them."""
