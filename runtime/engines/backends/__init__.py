"""What runs a network: ONNX Runtime, TensorRT or PyTorch, and which of them is chosen."""
