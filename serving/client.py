"""A client of the gateway: submits, follows events through broken connections, fetches results."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from runtime.errors import UserError
from serving.archives import content_of

TOKEN = "TGM_TOKEN"
"""Environment variable of the token, which should stand in no command line."""

PATIENCE_S = 60.0
"""Seconds to try to reach a server that does not answer, such as one that is being started again."""


class Client:
    """A connection to a server.

    Args:
        url: address of the server.
        token: secret; by default the environment's.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        token = token or os.environ.get(TOKEN)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=30.0, trust_env=False)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def call(self, verb: str, path: str, **options: Any) -> Any:
        """Return the JSON of an answer.

        Raises:
            UserError: the server refuses, or does not answer.
        """
        response = self._answer(verb, path, **options)
        try:
            return response.json() if response.content else {}
        except ValueError:
            raise UserError(f"server {self.http.base_url}: expected JSON, got something else; is it ours?") from None

    def _answer(self, verb: str, path: str, **options: Any) -> httpx.Response:
        """Return an answer that is no refusal; errors as of `call`."""
        try:
            response = self.http.request(verb, path, **options)
        except httpx.HTTPError as error:
            url = self.http.base_url
            raise UserError(f"server {url}: does not answer ({error}); start one: python -m serving studio") from None
        if response.status_code >= 400:
            raise UserError(self._refusal(response))
        return response

    def _refusal(self, response: httpx.Response) -> str:
        """Return what a refusal says."""
        try:
            message = str(response.json()["error"])
        except (ValueError, KeyError, TypeError):
            return f"server {self.http.base_url}: expected JSON, got status {response.status_code}; is it ours?"
        return message if response.status_code != 401 else f"{message}; set {TOKEN} to the secret of yours"

    def send(self, path: Path) -> dict[str, str]:
        """Send a file, or a folder as an archive, and return what stands for it in a request."""
        name, content = content_of(path)
        digest = hashlib.sha256(content).hexdigest()
        self.call("POST", "/v1/files", content=content)
        return {"name": name, "sha256": digest}

    def submit(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Submit a request and return its job."""
        return self.call("POST", "/v1/jobs", json=dict(document))

    def events(self, job: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the events of a job until it ends; a connection that breaks is opened again where it broke."""
        broken_at = None
        while True:
            try:
                headers = {"Last-Event-ID": str(after)}
                with self.http.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as response:
                    if response.status_code >= 400:
                        response.read()
                        raise UserError(self._refusal(response))
                    broken_at = None
                    for event in parse_stream(response.iter_lines()):
                        after = event["n"]
                        yield event
                        if event["kind"] in ("done", "failed", "cancelled"):
                            return
            except httpx.HTTPError as error:
                broken_at = broken_at or time.monotonic()
                if time.monotonic() - broken_at > PATIENCE_S:
                    raise UserError(f"server {self.http.base_url}: does not answer any more ({error})") from None
            time.sleep(0.2)

    def fetch(self, job: str, name: str) -> bytes:
        """Return a file of a job that is done."""
        return self._answer("GET", f"/v1/jobs/{job}/files/{name}").content


def parse_stream(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield the events in the lines of a stream: number `n`, `kind` and the data."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield {**json.loads(fields["data"]), "n": int(fields["id"]), "kind": fields["event"]}
            fields = {}
        else:
            fields = {}
