"""The gateway as an ASGI application."""

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp

from runtime.errors import UserError
from serving.gateway.access import Access, Token
from serving.gateway.answers import answer, refuse
from serving.gateway.health import Health
from serving.gateway.routes import Routes
from serving.gateway.service import Service

_LOG = logging.getLogger("serving.http")


def make_app(
    service: Service, health: Health, *, port: int, hosts: Sequence[str] = (), tokens: Sequence[Token] = ()
) -> ASGIApp:
    """Return the application of a server.

    Args:
        service: the server; its pool is started by whoever calls.
        health: its probes.
        port: where it listens.
        hosts: names that it answers to beside those of loopback.
        tokens: who may use it; none: everybody on this machine.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.bell.attach()
        service.jobs.listeners += [service.bell.ring, service.metrics.listen]
        yield

    handlers = {UserError: _refused, HTTPException: _unknown, Exception: _failed}
    app = Starlette(routes=Routes(service, health).all(), lifespan=lifespan, exception_handlers=handlers)
    return Access(app, port=port, hosts=hosts, tokens=tokens, metrics=service.metrics)


async def _refused(_: HttpRequest, error: Exception) -> Response:
    return refuse(error)


async def _unknown(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return answer({"error": f"{request.method}: is nothing that this address does"}, 405)
    return answer({"error": f"address {request.url.path!r:.80}: there is nothing here; see /v1/openapi.json"}, 404)


async def _failed(request: HttpRequest, error: Exception) -> Response:
    # The reason is in the log, not in the answer: it may hold anything.
    _LOG.error("failed", exc_info=error, extra={"fields": {"path": request.url.path[:200]}})
    return answer({"error": "server: an error of its own; its log has the reason"}, 500)
