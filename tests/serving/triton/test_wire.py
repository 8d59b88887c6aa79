"""The connection to Triton's HTTP and calls through shared memory, against a server of a few lines."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.engines.spec import EngineSpec, TensorSpec
from serving.triton.regions import SHARED, SharedCall
from serving.triton.wire import Refused, Wire, message_of


class Answers:
    """A server that answers each request with the next of some texts, in pieces, and keeps what it was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.answers, self.asked = list(answers), []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while self.answers:
            connection, _ = self.listening.accept()
            with connection:
                while self.answers and (head := self.head(connection)):
                    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                    body = b"".join(connection.recv(1) for _ in range(length))
                    self.asked.append((head.split(b" ")[1].decode(), json.loads(body)))
                    answer = self.answers.pop(0)
                    for start in range(0, len(answer), 7):
                        connection.sendall(answer[start : start + 7])
                    if not answer:
                        break

    def head(self, connection: socket.socket) -> bytes:
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                return b""
            data += byte
        return data


def answer(status: int, document: object) -> bytes:
    body = json.dumps(document).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Type: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def wired() -> Iterator[tuple[Answers, Wire]]:
    # Said, refused, and a connection that is closed without a word; then again.
    server = Answers(answer(200, {"a": "x" * 99}), answer(400, {"error": "no such model"}), b"", answer(200, {}))
    wire = Wire("127.0.0.1", server.port)
    yield server, wire
    wire.close()
    server.listening.close()
    server.thread.join(5.0)


def test_answers_come_in_pieces_and_a_lost_connection_is_opened_again(wired: tuple[Answers, Wire]) -> None:
    server, wire = wired
    assert json.loads(wire.post("/one", {"b": 1})) == {"a": "x" * 99}
    with pytest.raises(Refused, match="no such model"):
        wire.post("/two", {})
    with pytest.raises(ConnectionResetError):
        wire.post("/three", {})
    assert wire.post("/four", {}) == b"{}"
    assert server.asked == [("/one", {"b": 1}), ("/two", {}), ("/three", {}), ("/four", {})]


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        wire = Wire("127.0.0.1", free.getsockname()[1])
    with pytest.raises(ConnectionRefusedError):
        wire.post("/", {})


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"a": 1}', b"\xff"])
def test_a_refusal_without_a_reason(body: bytes) -> None:
    assert message_of(body)


class Memory(Wire):
    """A server that doubles the input of a call, in the memory that it has mapped at registration."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 1)
        self.maps: dict[str, np.ndarray] = {}

    def send(self, request: bytes) -> bytes:
        path, document = request.split(b" ")[1].decode(), json.loads(request.partition(b"\r\n\r\n")[2])
        if path.endswith("/register"):
            file = SHARED / document["key"][1:]
            self.maps[document["key"][1:]] = np.memmap(file, np.uint8, "r+", shape=(document["byte_size"],))
        elif path.endswith("/unregister"):
            self.maps.pop(path.split("/")[4])
        else:
            places = [entry["parameters"] for side in ("inputs", "outputs") for entry in document[side]]
            first, second, out = (self.part(place) for place in places)
            out[:] = first.view(np.float32).reshape(2, 3).sum(1).astype(np.float32).view(np.uint8) + 0 * second[:1]
        return b"{}"

    def part(self, place: dict) -> np.ndarray:
        begin = place["shared_memory_offset"]
        assert begin % 64 == 0
        return self.maps[place["shared_memory_region"]][begin : begin + place["shared_memory_byte_size"]]


def test_tensors_lie_side_by_side_in_memory_that_leaves_no_file() -> None:
    spec = EngineSpec(
        "sum", (TensorSpec("x", ("B", 3), "float32"), TensorSpec("t", ("B",), "int64")),
        (TensorSpec("y", ("B",), "float32"),), {"B": (1, 2, 8)}, {},
    )  # fmt: skip
    wire = Memory()
    call = SharedCall(wire, "sum", spec, [(2, 3), (2, 1)], [(2, 1)])
    assert not list(Path(SHARED).glob(f"{call.name}*")), "both sides have mapped it"
    x, t = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((2, 1), np.int64)
    (y,) = call.run([x, t])
    np.testing.assert_array_equal(y, [[3.0], [12.0]])
    (again,) = call.run([2 * x, t])
    np.testing.assert_array_equal(y, [[3.0], [12.0]], err_msg="the next call writes into the same memory")
    np.testing.assert_array_equal(again, [[6.0], [24.0]])
    call.forget()
    assert wire.maps == {}
