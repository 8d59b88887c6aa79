"""Frozen networks to ONNX: where each is cut, its sample inputs and its spec."""
