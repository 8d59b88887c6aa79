"""Feature maps as rows of channels, for ONNX Runtime on a CPU."""
