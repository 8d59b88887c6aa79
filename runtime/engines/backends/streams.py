"""Order between an engine's CUDA stream and PyTorch's current one by events on the device: the host never waits."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class SideStream:
    """A stream of an engine's own, that takes up where PyTorch's current stream is, and that this one then waits for.

    TensorRT and ONNX Runtime both treat the default stream, number 0, as none of the caller's: one stops the device at
    it, the other makes a stream that nothing is ordered with.
    """

    def __init__(self, device: torch.device) -> None:
        """Make a stream on a CUDA device."""
        self._device = device
        self._stream = torch.cuda.Stream(device)

    @property
    def handle(self) -> int:
        """The stream's address."""
        return self._stream.cuda_stream

    @contextmanager
    def joined(self) -> Iterator[int]:
        """Yield the stream's address: what is enqueued there runs after the current stream's work and before its next.

        Memory that belongs to the current stream may be used there: whatever reuses it comes after.
        """
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        yield self.handle
        current.wait_stream(self._stream)
