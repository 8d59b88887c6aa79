"""Answers and refusals: JSON, and one line that names the thing, what was expected and the remedy."""

import asyncio
import json
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from runtime.engines.strict_json import parse_value
from runtime.errors import UserError
from serving.jobs import ConflictError, QueueFullError, UnknownJobError

LONGEST_JSON = 256 * 1024
"""Bytes of a JSON body."""

BODY_S = 30.0
"""Seconds in which a body has to arrive: a client that sends a byte a minute must not hold a connection."""


class RefusedError(UserError):
    """A request that is refused before anything looks into it.

    Args:
        status: HTTP status.
        message: one line.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


STATUS = {UnknownJobError: 404, ConflictError: 409, QueueFullError: 503}
"""Status of the errors that have one of their own."""


def answer(value: Any, status: int = 200) -> JSONResponse:
    """Return a JSON answer that no cache keeps."""
    return JSONResponse(value, status, {"Cache-Control": "no-store"})


def refuse(error: Exception) -> Response:
    """Return the answer to an error of the client's."""
    status = error.status if isinstance(error, RefusedError) else STATUS.get(type(error), 422)  # pyright: ignore
    response = answer({"error": str(error)}, status)
    if status == 503:
        response.headers["Retry-After"] = "5"
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def read_body(request: HttpRequest, limit: int) -> bytes:
    """Return the body of a request.

    Raises:
        RefusedError: it is longer than `limit` bytes, or did not arrive in time.
    """
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared[:20]) > limit:
        raise RefusedError(413, f"body: expected at most {limit} bytes, got {declared[:20]}; send less")
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise RefusedError(413, f"body: expected at most {limit} bytes, got more; send less")
                parts.append(part)
    except TimeoutError:
        raise RefusedError(408, f"body: expected within {BODY_S:.0f} seconds, got only a part; send it again") from None
    except ClientDisconnect:
        raise RefusedError(400, "body: expected the whole, got a part; the connection was closed") from None
    return b"".join(parts)


async def read_json(request: HttpRequest) -> Any:
    """Return the JSON value in the body of a request.

    Raises:
        RefusedError: it is of another type, too long, or no JSON.
    """
    # A form of another site can send text, but not this type without asking for leave first.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(415, f"content-type: expected application/json, got {kind!r:.60}")
    body = await read_body(request, LONGEST_JSON)
    try:
        value = parse_value(body)
        # Half of a surrogate pair may stand in JSON as an escape, but in no answer, file name or database.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    # A value that was read may still be nested too deeply to be written.
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"body: expected JSON, got something else ({error})"[:300]) from None
