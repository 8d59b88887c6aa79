"""What a lane makes of a server's errors. Streams, deaths and loading again: `test_server.py`, with a real server."""

import pytest

from serving.triton.lanes import TritonLane
from serving.triton.server import Ports, Triton


class Quiet(Triton):
    """A server whose processes are all there, as they still seem to be a moment after a kill."""

    def alive(self) -> bool:
        return True

    def stubs(self, model: str) -> list[int]:
        return [1]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("[StatusCode.UNAVAILABLE] Stream removed (Socket closed)", "died"),
        ("[StatusCode.CANCELLED] Locally cancelled by application!", "stopped"),
        ("the run was stopped after step 3; the same request resumes it", "stopped"),
        ("[request id: 1] --steps: expected 1 to 100, got 0", "failed"),
        ("picture: 'a.png' is not a picture", "failed"),
    ],
)
def test_what_an_error_means(message: str, kind: str) -> None:
    lane = TritonLane("triton", Quiet(Ports(1, 2, 3)), {})
    got, data = lane._end("toy", message)
    assert got == kind
    if kind == "failed":
        assert data["message"] in message and "[" not in data["message"]
