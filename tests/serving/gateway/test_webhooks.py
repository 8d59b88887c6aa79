import hashlib
import hmac
import json
from pathlib import Path

import pytest

from runtime.errors import UserError
from serving.bundles import Offers
from serving.gateway.metrics import Metrics
from serving.gateway.server import webhook_secret
from serving.gateway.service import Service
from serving.gateway.webhooks import FIRST_S, TRIES, Webhooks
from serving.jobs import Jobs
from serving.pool import Placed, Pool


def end(jobs: Jobs, request, url: str | None) -> str:
    name = jobs.submit(request, webhook=url)[0].id
    jobs.take(1)
    jobs.finish(name, {"outputs": []})
    return name


def test_the_end_of_a_job_is_told_once_and_signed(jobs: Jobs, ask) -> None:
    sent = []
    hooks = Webhooks(jobs, b"secret", lambda url, body, headers: sent.append((url, body, headers)) or 204)
    name = end(jobs, ask(), "https://a.example/x")
    assert hooks.deliver() == 1 and hooks.deliver() == 0
    (url, body, headers) = sent[0]
    assert url == "https://a.example/x" and json.loads(body)["job"] == name and json.loads(body)["state"] == "done"
    assert headers["X-Tgm-Signature"] == hmac.new(b"secret", body, hashlib.sha256).hexdigest()


def test_it_is_tried_again_ever_more_rarely_and_not_for_ever(jobs: Jobs, clock, ask) -> None:
    tries = []

    def refuse(*_: object) -> int:
        tries.append(clock.now)
        if len(tries) % 2:
            raise OSError
        return 302  # an address that leads elsewhere is not followed

    hooks = Webhooks(jobs, b"secret", refuse)
    end(jobs, ask(), "https://a.example/x")
    for _ in range(40):
        hooks.deliver()
        clock.now += FIRST_S * 4 ** (len(tries) - 1)
    assert len(tries) == TRIES


@pytest.mark.parametrize(
    "url", ["http://b.example/", "file:///etc/passwd", "http://a.example.evil/", "http://[", 3, "ftp://a.example/",
            "http://a.example@b.example/"],
)  # fmt: skip
def test_only_allowed_hosts_are_told(jobs: Jobs, url: object) -> None:
    pool = Pool(jobs, {}, [], Placed())
    service = Service(jobs, pool, {}, Offers(), Metrics(lambda job: ""), ("a.example",))
    with pytest.raises(UserError, match="webhook: expected an http address of an allowed host"):
        service.check_webhook(url)
    assert service.check_webhook("https://a.example:8443/path") == "https://a.example:8443/path"
    assert service.check_webhook(None) is None


def test_the_secret_stays_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    secret = webhook_secret(tmp_path)
    assert len(secret) == 64 and webhook_secret(tmp_path) == secret
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("")  # by a server that was killed as it began to write
    assert len(webhook_secret(tmp_path)) == 64
