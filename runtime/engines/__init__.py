"""Frozen networks behind small protocols: bundles on disk, ONNX Runtime and PyTorch backends."""

import os

# Wheels of ONNX Runtime report to their makers by default, and nothing here asks the network for anything. It looks
# when it is loaded; whoever wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
