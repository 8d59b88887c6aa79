"""Server-sent events out of the log: whoever comes back with `Last-Event-ID` gets all that it has missed.

Nothing is buffered for a client. Its stream reads the log at its own pace, so one that is slow costs no memory; of the
previews that it has missed it gets the last one, since only that is still there.
"""

import asyncio
import json
from collections.abc import Sequence

from anyio import to_thread
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.gateway.answers import RefusedError
from serving.gateway.service import Service
from serving.store import ENDED, LoggedEvent

HEARTBEAT_S = 15.0
"""Seconds of silence after which a comment is sent: a client that has gone is noticed by it."""

SEND_S = 30.0
"""Seconds that a client may take to read a part of its stream; it can come back for the rest."""

STREAMS = 128
"""Streams that may be open at once."""


class EventStream(Response):
    """The events of one job, until it ends, or of all jobs.

    Args:
        service: where the log is.
        after: number of the last event that the client has.
        job: id of the job; None: all jobs of the client.
        client: whose jobs.
    """

    media_type = "text/event-stream"
    open = 0
    """Streams that are open now, in all."""

    def __init__(self, service: Service, after: int, job: str | None, client: str) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        # A stream has no length.
        self.raw_headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        self.service, self.after, self.job, self.client = service, after, job, client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the job has ended, the client has gone, or the server is about to end."""
        EventStream.open += 1
        gone = asyncio.create_task(_wait_until_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send(send, b": open\n\n")
            while not gone.done() and not self.service.jobs.draining:
                events = await to_thread.run_sync(self._next)
                if events:
                    await self._send(send, b"".join(map(format_event, without_stale_previews(events))))
                    self.after = events[-1].n
                    if self.job and events[-1].kind in ENDED:
                        break
                else:
                    await self.service.bell.wait(HEARTBEAT_S)
                    if not await to_thread.run_sync(self._next):
                        await self._send(send, b": \n\n")
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            pass  # too slow: the connection is closed, and the client comes back for the rest
        finally:
            EventStream.open -= 1
            gone.cancel()

    def _next(self) -> list[LoggedEvent]:
        """Return the next events of the jobs that the client sees."""
        events = self.service.jobs.store.events(self.after, self.job)
        if self.job or not self.client:
            return events
        own = {job.id for job in self.service.jobs.store.jobs("client = ?", self.client)}
        return [event for event in events if event.job in own]

    async def _send(self, send: Send, body: bytes) -> None:
        async with asyncio.timeout(SEND_S):
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def format_event(event: LoggedEvent) -> bytes:
    """Return an event as it is sent."""
    data = json.dumps({"job": event.job, "at": event.at, **event.data})
    return f"id: {event.n}\nevent: {event.kind}\ndata: {data}\n\n".encode()


def without_stale_previews(events: Sequence[LoggedEvent]) -> list[LoggedEvent]:
    """Return events without the previews that later ones of the same job have replaced."""
    last = {event.job: event.n for event in events if event.kind == "preview"}
    return [event for event in events if event.kind != "preview" or event.n == last[event.job]]


def last_event_id(request: HttpRequest) -> int | None:
    """Return the number of the last event that a client has; None where it says none.

    Raises:
        RefusedError: it is no number.
    """
    text = request.headers.get("last-event-id") or request.query_params.get("after")
    if text is None:
        return None
    if not text.isdigit() or len(text) > 18:
        raise RefusedError(400, f"Last-Event-ID: expected the number of an event, got {text!r:.40}")
    return int(text)
