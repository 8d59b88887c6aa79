"""The networks of a bundle in plain PyTorch, for the runs that need their gradients."""
