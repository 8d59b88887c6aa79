"""A server from its start to its end: store, queue, lanes, gateway, and an orderly end on SIGTERM.

On SIGTERM or Ctrl-C it admits nothing more, lets running jobs save their state, and is gone within five seconds; the
next one resumes them. After `kill -9` the next one does so, too, from the last checkpoint.
"""

import json
import logging
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from runtime.errors import UserError
from runtime.files import read_ordinary, replace_file
from serving.bundles import Offers
from serving.gateway.access import LOOPBACK, Token
from serving.gateway.app import make_app
from serving.gateway.health import Health
from serving.gateway.metrics import Metrics
from serving.gateway.service import Service
from serving.gateway.webhooks import Webhooks
from serving.jobs import Jobs, Limits
from serving.lanes import Lane
from serving.methods import Served
from serving.pool import Placed, Pool
from serving.store import Store

CONNECTIONS = 512
"""Connections that may be open at once."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server listens, and to whom."""

    host: str = "127.0.0.1"
    port: int = 8765
    names: tuple[str, ...] = ()
    """Names that it answers to beside those of loopback."""
    tokens: tuple[Token, ...] = ()
    webhook_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an address that other machines reach without a token."""
        if self.host not in LOOPBACK and not self.tokens:
            raise UserError(f"--host {self.host}: other machines can reach it: expected --tokens FILE, got none")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that makes a server."""

    store: Path
    served: Mapping[str, Served]
    lanes: Sequence[Lane]
    address: Address = field(default_factory=Address)
    placed: Placed = field(default_factory=Placed)
    limits: Limits = field(default_factory=Limits)
    bundles: Sequence[str] = ()
    log_requests: bool = False
    """Whether what clients ask for, prompts too, is logged."""
    probe_s: float = 0.0
    """Seconds between two rounds of one-step jobs; 0: only when somebody asks for them."""


class GatewayServer(uvicorn.Server):
    """uvicorn, whose streams end before it waits for connections to close."""

    ending: Callable[[], None] = staticmethod(lambda: None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM or SIGINT; a second one ends at once."""
        threading.Thread(target=self.ending, daemon=True).start()
        super().handle_exit(sig, frame)
        # It would raise the signal again at its end, and the process would die before lanes and store are closed.
        self._captured_signals.clear()


def listen(address: Address) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UserError: the port is taken, or the address is none of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((address.host, address.port))
    except (OSError, OverflowError) as error:
        opened.close()
        raise UserError(f"--port {address.port} of {address.host} cannot be opened ({error}); choose another") from None
    return opened


class RunningServer:
    """A server whose store and port are open; `run` lets it work until a signal, or `stop`, ends it.

    Args:
        setup: all that makes it.

    Raises:
        UserError: the store or the port is taken.
    """

    def __init__(self, setup: Setup) -> None:
        self.socket = listen(setup.address)
        try:
            self.store = store = Store(setup.store)
        except UserError:
            self.socket.close()
            raise
        log_to(store.folder / "server.log")
        jobs, offers = Jobs(store, setup.limits), Offers(setup.bundles)
        placed = replace(setup.placed, bundles=offers.folders())
        pool = Pool(jobs, setup.served, setup.lanes, placed)
        metrics = Metrics(lambda name: job.method if (job := store.job(name)) else "deleted")
        self.service = Service(jobs, pool, setup.served, offers, metrics, setup.address.webhook_hosts)
        self.webhooks = Webhooks(jobs, webhook_secret(store.folder))
        self.port: int = self.socket.getsockname()[1]
        host = "localhost" if setup.address.host in LOOPBACK else setup.address.host
        self.url = f"http://{host}:{self.port}"
        self.health, self._probe_s = Health(self.service), setup.probe_s
        app = make_app(
            self.service, self.health, port=self.port, hosts=setup.address.names, tokens=setup.address.tokens
        )
        self._server = GatewayServer(_config(app))
        self._server.ending = partial(end, self.service)  # pyright: ignore[reportAttributeAccessIssue]
        if setup.log_requests:
            jobs.listeners.append(_log_request(store))

    def run(self, ready: Callable[[str], None] = lambda url: None) -> None:
        """Work until the end; `ready` is called with the address once it answers."""
        self.service.pool.start()
        self.webhooks.start()
        if self._probe_s:
            self.health.watch(self._probe_s)
        ready(self.url)
        try:
            self._server.run(sockets=[self.socket])
        finally:
            self.webhooks.closing.set()
            self.health.closing.set()
            end(self.service)
            self.close()

    def close(self) -> None:
        """Give port and store back; a second call does nothing."""
        self.socket.close()
        self.store.close()

    def stop(self) -> None:
        """End it, from another thread."""
        self.service.jobs.draining = True
        self.service.bell.ring()
        self._server.should_exit = True


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=32 * 1024,
        http="h11",
        server_header=False,
        ws="none",
    )


def serve(setup: Setup, ready: Callable[[str], None] = lambda url: None) -> int:
    """Run a server until a signal ends it; return the exit code.

    Args:
        setup: all that makes it.
        ready: called with its address once it answers.

    Raises:
        UserError: the store or the port is taken.
    """
    RunningServer(setup).run(ready)
    return 0


def end(service: Service) -> None:
    """End the streams of a server, then its lanes."""
    service.jobs.draining = True
    service.bell.ring()
    service.pool.drain()


def webhook_secret(folder: Path) -> bytes:
    """Return the secret that signs what a server tells others; made on first use, for its owner alone to read."""
    path = folder / "webhook-secret"
    secret = read_ordinary(path, 1000).strip() if path.exists() else b""
    # An empty one, which a killed server may have left, would let anybody sign.
    if not secret:
        secret = secrets.token_hex(32).encode()
        replace_file(path, secret + b"\n", mode=0o600)
    return secret


class JsonLines(logging.Formatter):
    """A line of JSON for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as JSON."""
        entry: dict[str, Any] = {"at": round(record.created, 3), "level": record.levelname, "from": record.name}
        entry |= {"event": record.getMessage()[:500], **getattr(record, "fields", {})}
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)[-4000:]
        return json.dumps(entry)


def log_to(file: Path) -> None:
    """Write what happens to a file, ten megabytes at most, and what is wrong to stderr, too."""
    logger = logging.getLogger("serving")
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    lines = RotatingFileHandler(file, maxBytes=5 * 2**20, backupCount=1, encoding="utf-8")
    lines.setFormatter(JsonLines())
    wrong = logging.StreamHandler(sys.stderr)
    wrong.setLevel(logging.WARNING)
    logger.addHandler(lines)
    logger.addHandler(wrong)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _log_request(store: Store) -> Callable[..., None]:
    """Return a listener that logs what was asked for."""

    def log(name: str, kind: str, _: object) -> None:
        if kind == "queued" and (job := store.job(name)):
            logging.getLogger("serving").info("asked", extra={"fields": {"job": name, "request": job.request}})

    return log
