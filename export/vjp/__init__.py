"""A network's value and vector-Jacobian product as one ONNX graph."""
