"""Frozen networks behind small protocols: bundles on disk, ONNX Runtime and PyTorch backends."""
