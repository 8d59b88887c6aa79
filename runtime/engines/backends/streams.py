"""Order between an engine's CUDA stream and PyTorch's current one by events on the device: the host never waits."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class SideStream:
    """A stream of an engine's own, which waits for PyTorch's current stream and which that one then waits for.

    The default stream, number 0, would not do: TensorRT stops the device at it, and ONNX Runtime takes it for none and
    makes a stream that nothing is ordered with.
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
        # asked in every call: another thread, or a capture, has another current stream
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        yield self.handle
        current.wait_stream(self._stream)
