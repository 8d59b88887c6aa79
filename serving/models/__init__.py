"""Programs that run inside tritonserver: the model of every method, and a backend for machines without NVIDIA's."""
