"""A kept HTTP connection to a Triton server of this machine, as lean as a call of a small network needs it."""

import json
import socket
from typing import Any

TIMEOUT_S = 60.0
"""Seconds that an answer may take."""

CHUNK = 1 << 16
"""Bytes that are read at once."""


class Refused(OSError):
    """The server is there and says no; the message is its own."""


class Wire:
    """A connection, opened when it is first used and again after it was lost. One call at a time.

    gRPC's client takes 0.4 ms of computing a call, in threads that wake each other, and this one 0.13; the server takes
    less, too. `http.client` reads an answer's headers as those of an e-mail.

    Args:
        host: of the server.
        port: of its HTTP.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._socket: socket.socket | None = None

    def request(self, path: str, document: dict[str, Any]) -> bytes:
        """Return a request as it is sent, to be sent many times."""
        body = json.dumps(document).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def post(self, path: str, document: dict[str, Any]) -> bytes:
        """Return the body of an answer; errors as of `send`."""
        return self.send(self.request(path, document))

    def send(self, request: bytes) -> bytes:
        """Return the body of the answer to a request.

        Raises:
            Refused: the server refuses.
            OSError: there is no server, or it has gone.
        """
        try:
            if self._socket is None:
                self._socket = socket.create_connection((self.host, self.port), TIMEOUT_S)
                # A request is one piece, which must not wait for the last answer's acknowledgement.
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(request)
            status, body = self._answer(self._socket)
        except BaseException:
            # An answer that nobody has read would be taken for that of the next request.
            self.close()
            raise
        if status != 200:
            raise Refused(message_of(body))
        return body

    def _answer(self, connection: socket.socket) -> tuple[int, bytes]:
        """Return status and body of an answer."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += _read(connection)
        head, _, body = data.partition(b"\r\n\r\n")
        first, *headers = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in headers if ": " in line)
        while len(body) < int(fields.get("content-length", 0)):
            body += _read(connection)
        return int(first.split(" ")[1]), body

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _read(connection: socket.socket) -> bytes:
    data = connection.recv(CHUNK)
    if not data:
        raise ConnectionResetError("the server has closed the connection")
    return data


def message_of(body: bytes) -> str:
    """Return what a refusal says."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace") or "no reason is given"
