"""Operations that take several passes over memory in PyTorch and few by kernels of Triton, on a CUDA device alone."""
