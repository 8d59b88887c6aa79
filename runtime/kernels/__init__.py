"""What all compiled kernels share: how they are compiled, and the threads that run them."""
