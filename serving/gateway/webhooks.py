"""Telling a client's own server that a job has ended: signed, tried again, to allowed hosts only.

The body is JSON; `X-Tgm-Signature` is its HMAC-SHA256 with the server's secret, in hexadecimal. What could not be
delivered stays in the store, a restart included, and is tried again after 1, 4, 16 ... minutes, eight times in all.
"""

import hashlib
import hmac
import logging
import threading
from collections.abc import Callable

from serving.jobs import Jobs

TRIES = 8
"""How often an address is tried."""

FIRST_S = 60.0
"""Seconds until the second try; each further one waits four times as long."""

TIMEOUT_S = 10.0
"""Seconds that the client's server may take."""

_LOG = logging.getLogger("serving.webhooks")

Post = Callable[[str, bytes, dict[str, str]], int]
"""Sends a body and returns the status of the answer."""


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Send a body; an address that leads elsewhere is not followed, since that host may not be allowed."""
    import httpx

    return httpx.post(url, content=body, headers=headers, timeout=TIMEOUT_S, follow_redirects=False).status_code


def sign(secret: bytes, body: bytes) -> str:
    """Return the signature of a body."""
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


class Webhooks:
    """Sends the notifications that are due.

    Args:
        jobs: the queue, whose store holds it.
        secret: for the signature.
        post: sends; a test has its own.
    """

    def __init__(self, jobs: Jobs, secret: bytes, post: Post = post) -> None:
        self.jobs, self.secret, self.post = jobs, secret, post
        self.closing = threading.Event()

    def start(self) -> None:
        """Deliver from now on, in a thread of its own."""
        threading.Thread(target=self._work, name="webhooks", daemon=True).start()

    def _work(self) -> None:
        while not self.closing.wait(0.5):
            try:
                self.deliver()
            except Exception:  # the thread must live on, whatever is wrong with one address
                _LOG.exception("webhooks")

    def deliver(self) -> int:
        """Deliver what is due; return how many were."""
        now, delivered = self.jobs.clock(), 0
        for row in self.jobs.store.rows("SELECT * FROM webhooks WHERE due <= ? ORDER BY due LIMIT 20", now):
            body = row["body"].encode()
            headers = {"Content-Type": "application/json", "X-Tgm-Signature": sign(self.secret, body)}
            try:
                ok = 200 <= self.post(row["url"], body, headers) < 300
            except Exception as error:  # httpx has many, and all mean the same here
                _LOG.info("job %s: webhook: %s", row["job"], type(error).__name__)
                ok = False
            tries = row["tries"] + 1
            with self.jobs.store.transaction() as connection:
                if ok or tries >= TRIES:
                    connection.execute("DELETE FROM webhooks WHERE job = ?", (row["job"],))
                else:
                    due = now + FIRST_S * 4 ** (tries - 1)
                    connection.execute("UPDATE webhooks SET tries = ?, due = ? WHERE job = ?", (tries, due, row["job"]))
            delivered += ok
        return delivered
