"""Who may ask: the names that the server answers to, pages of its own alone, and tokens where it is not on loopback.

A page of another site can send requests to 127.0.0.1 from a user's browser. So the Host has to be a name of ours
(against names that a stranger lets point here), and an Origin has to be our own.
"""

import hashlib
import hmac
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.engines.strict_json import parse_value
from runtime.errors import UserError
from runtime.files import read_ordinary
from serving.gateway.answers import RefusedError, refuse
from serving.gateway.metrics import Metrics

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses that no other machine can reach."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; "
    "connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a page of ours may load: files of ours, and pictures and films that it has fetched itself."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""On every answer that has none of its own."""

OPEN = ("/v1/health/live", "/v1/health/ready")
"""Paths that need no token: whoever watches a server has none. The page itself is open, too, and asks for one."""

_LOG = logging.getLogger("serving.http")


@dataclass(frozen=True)
class Token:
    """Who may use a server that is not on loopback."""

    name: str
    sha256: str
    """Hash of the secret."""
    quota: int
    """Jobs that it may have waiting or running."""


def read_tokens(path: Path) -> list[Token]:
    """Return the tokens in a file: a JSON object, by name `{"sha256": hash of the secret, "quota": 8}`.

    Raises:
        UserError: the file is none of this kind.
    """
    where = f"--tokens '{path}'"
    try:
        document = parse_value(read_ordinary(path, 1 << 24))
        tokens = [Token(name, entry["sha256"], entry.get("quota", 8)) for name, entry in document.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where}: expected a JSON object of names with 'sha256' and 'quota' ({error})") from None
    for token in tokens:
        if not token.name or len(str(token.sha256)) != 64 or type(token.quota) is not int or token.quota < 1:
            raise UserError(f"{where}: {token.name!r:.40}: expected a SHA-256 and a quota of at least 1")
    if not tokens:
        raise UserError(f"{where}: expected at least one token, got none")
    return tokens


class Access:
    """Middleware that lets in whom it should, and logs what was answered.

    Args:
        app: what is behind it.
        port: of the server.
        hosts: names that it answers to beside those of loopback.
        tokens: who may use it; none: everybody on this machine.
        metrics: where requests are counted.
    """

    def __init__(
        self, app: ASGIApp, *, port: int, hosts: Sequence[str], tokens: Sequence[Token], metrics: Metrics
    ) -> None:
        self.app, self.tokens, self.metrics = app, tokens, metrics
        names = [f"[{host}]" if ":" in host else host for host in (*LOOPBACK, *hosts)]
        self.hosts = {f"{name}:{port}" for name in names} | ({*names} if port in (80, 443) else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on with the token's name and quota in its state."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name.lower() for name, _ in message["headers"]}
                extra = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.lower().encode() not in present]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        state = scope["state"] = {**scope.get("state", {})}
        try:
            state.update(self._admit(scope["path"], Headers(scope=scope)))
            await self.app(scope, receive, sending)
        except RefusedError as error:
            await refuse(error)(scope, receive, sending)
        finally:
            self._log(scope, status, time.monotonic() - began)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        """Log an answer and count it."""
        # Paths hold ids, which are hashes or a client's own: no prompt is in them.
        fields = {"method": scope["method"], "path": scope["path"][:200], "status": status}
        fields |= {"seconds": round(seconds, 4), "client": scope["state"].get("client", "")}
        _LOG.info("request", extra={"fields": fields})
        self.metrics.count("tgm_http_requests_total", method=scope["method"][:8], status=str(status))
        self.metrics.time("tgm_http_seconds", seconds, method=scope["method"][:8])

    def _admit(self, path: str, headers: Headers) -> Mapping[str, Any]:
        """Return who asks; a `RefusedError` where it may not."""
        host = headers.get("host", "")
        if host.lower() not in self.hosts:
            raise RefusedError(421, f"host: expected one of {', '.join(sorted(self.hosts))}; got {host!r:.80}")
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise RefusedError(403, f"origin: expected the server's own page, got {origin!r:.80}")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and path.startswith("/v1/"):
            raise RefusedError(403, "sec-fetch-site: expected the server's own page, got another site's")
        return self._token(path, headers) if self.tokens else {"client": "", "quota": None}

    def _token(self, path: str, headers: Headers) -> Mapping[str, Any]:
        kind, _, secret = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(secret.strip().encode()).hexdigest()
        # All are compared, each in constant time: how long it takes says nothing about the tokens.
        fitting = [token for token in self.tokens if hmac.compare_digest(token.sha256, digest)]
        if kind.lower() == "bearer" and fitting:
            return {"client": fitting[0].name, "quota": fitting[0].quota}
        if path in OPEN or not (path.startswith("/v1/") or path == "/metrics"):
            return {"client": "", "quota": 0}
        raise RefusedError(401, "authorization: expected a bearer token of this server, got none that it has")
