"""What each address answers."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from serving.gateway.answers import RefusedError, answer, read_body, read_json
from serving.gateway.health import Health
from serving.gateway.openapi import openapi
from serving.gateway.service import Service, check_id
from serving.gateway.stream import STREAMS, EventStream, last_event_id
from serving.jobs import ConflictError, UnknownJobError
from serving.store import DONE, STATES, Job
from serving.work import media_type

PAGE = Path(__file__).parents[1] / "studio"
"""The studio: plain HTML, CSS and modules."""

_SANDBOX = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"}
"""On what was drawn: an SVG that is opened by itself must not run scripts."""

Endpoint = Callable[[HttpRequest], Awaitable[Response]]


class Routes:
    """The addresses of a server.

    Args:
        service: the server.
        health: its probes.
    """

    def __init__(self, service: Service, health: Health) -> None:
        self.service, self.jobs, self.health = service, service.jobs, health

    def all(self) -> list[Route]:
        """Return the table."""
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/", self.page),
            ("GET", "/job/{id}", self.page),
            ("GET", "/studio/{name}", self.asset),
            ("GET", "/v1/methods", self.methods),
            ("POST", "/v1/files", self.send_file),
            ("GET", "/v1/jobs", self.list),
            ("POST", "/v1/jobs", self.submit),
            ("GET", "/v1/jobs/{id}", self.show),
            ("PUT", "/v1/jobs/{id}", self.submit),
            ("DELETE", "/v1/jobs/{id}", self.delete),
            ("POST", "/v1/jobs/{id}/cancel", self.cancel),
            ("POST", "/v1/jobs/{id}/retry", self.retry),
            ("GET", "/v1/jobs/{id}/events", self.events),
            ("GET", "/v1/jobs/{id}/preview", self.preview),
            ("GET", "/v1/jobs/{id}/manifest", self.manifest),
            ("GET", "/v1/jobs/{id}/inputs/{option}", self.sent),
            ("GET", "/v1/jobs/{id}/files/{name}", self.result),
            ("GET", "/v1/events", self.events),
            ("GET", "/v1/health/live", self.live),
            ("GET", "/v1/health/ready", self.ready),
            ("POST", "/v1/health/probe", self.probe),
            ("GET", "/v1/openapi.json", self.openapi),
            ("GET", "/metrics", self.metrics),
        ]
        return [Route(path, endpoint, methods=[verb]) for verb, path, endpoint in table]

    # Jobs

    async def submit(self, request: HttpRequest) -> Response:
        """Submit a request, under an id of the client's where the address has one."""
        document = await read_json(request)
        name, state = request.path_params.get("id"), request.state
        if name is not None:
            check_id(name)
        submit = partial(self.service.submit, document, name=name, client=state.client, quota=state.quota)
        # In a thread: a commit waits for the disk.
        job, new = await to_thread.run_sync(submit)
        return answer(self.service.describe(job), 201 if new else 200)

    async def list(self, request: HttpRequest) -> Response:
        """Return the newest jobs of the client."""
        limit, before = request.query_params.get("limit", "100"), request.query_params.get("before", "1e18")
        try:
            most, until = int(limit[:9]), float(before[:30])
        except ValueError:
            raise RefusedError(422, f"limit, before: expected numbers, got {limit!r:.20}, {before!r:.30}") from None
        jobs = await to_thread.run_sync(partial(self.jobs.listed, max(1, min(most, 500)), until, request.state.client))
        shown = await to_thread.run_sync(lambda: [self.service.describe(job) for job in jobs])
        return answer({"jobs": shown, "last_event": self.jobs.store.last_event()})

    async def show(self, request: HttpRequest) -> Response:
        """Return a job."""
        return answer(self.service.describe(self.job(request)))

    async def cancel(self, request: HttpRequest) -> Response:
        """Cancel a job."""
        job = await to_thread.run_sync(self.jobs.cancel, self.job(request).id)
        return answer(self.service.describe(job))

    async def retry(self, request: HttpRequest) -> Response:
        """Queue a job again."""
        anew = request.query_params.get("anew") == "1"
        job = await to_thread.run_sync(partial(self.jobs.retry, self.job(request).id, anew=anew))
        return answer(self.service.describe(job))

    async def delete(self, request: HttpRequest) -> Response:
        """Delete a job."""
        await to_thread.run_sync(self.jobs.delete, self.job(request).id)
        return Response(status_code=204)

    async def events(self, request: HttpRequest) -> Response:
        """Stream the events of a job from its beginning, or those of all jobs from now on."""
        if EventStream.open >= STREAMS:
            raise RefusedError(503, f"events: {STREAMS} streams are open already; try again later")
        after, job = last_event_id(request), None
        if "id" in request.path_params:
            job, after = self.job(request).id, after or 0
        elif after is None:
            after = self.jobs.store.last_event()
        return EventStream(self.service, after, job, request.state.client)

    def job(self, request: HttpRequest) -> Job:
        """Return the job that an address names; another client's is none."""
        job = self.jobs.get(request.path_params["id"][:200])
        if request.state.client and job.client != request.state.client:
            raise UnknownJobError(f"job {job.id!r}: there is none of this id; it may have been deleted")
        return job

    # Files

    async def send_file(self, request: HttpRequest) -> Response:
        """Keep a file that a client sends."""
        content = await read_body(request, self.jobs.limits.upload)
        if not content:
            raise RefusedError(422, "body: expected a file, got nothing")
        digest = await to_thread.run_sync(self.jobs.keep_file, content)
        return answer({"sha256": digest, "size": len(content)}, 201)

    async def preview(self, request: HttpRequest) -> Response:
        """Return the last drawing on the way."""
        job = self.job(request)
        name = self.service.preview_of(job)
        if name is None:
            raise RefusedError(404, f"job {job.id!r}: has no preview yet")
        return drawn(self.jobs.store.job_folder(job.id) / "preview" / name)

    async def result(self, request: HttpRequest) -> Response:
        """Return a file of a job that is done."""
        job, name = self.job(request), request.path_params["name"]
        # By the manifest's list: the address never becomes a path.
        if name not in [output["name"] for output in self.service.describe(job)["outputs"]]:
            raise RefusedError(404, f"job {job.id!r}: has no file {name!r:.80}; it is {job.state}")
        download = request.query_params.get("download") == "1"
        return drawn(self.jobs.store.job_folder(job.id) / "run" / "result" / name, download=download)

    async def sent(self, request: HttpRequest) -> Response:
        """Return a file that a job reads."""
        described = self.service.describe(self.job(request))
        file = described["files"].get(request.path_params["option"])
        if file is None:
            raise RefusedError(404, f"job {described['id']!r}: has no such file")
        return drawn(self.jobs.store.file(file["sha256"]), kind=media_type(file["name"]))

    async def manifest(self, request: HttpRequest) -> Response:
        """Return what made a result."""
        job = self.job(request)
        if job.state != DONE or job.manifest is None:
            raise ConflictError(f"job {job.id!r}: expected one that is done, this one is {job.state}")
        return Response(job.manifest, media_type="application/json")

    # About the server

    async def methods(self, request: HttpRequest) -> Response:
        """Return what is served."""
        return answer({"methods": self.service.describe_methods(), "client": request.state.client})

    async def openapi(self, request: HttpRequest) -> Response:
        """Return the server's description."""
        return answer(openapi(self.service.served))

    async def live(self, request: HttpRequest) -> Response:
        """Say that the server answers."""
        return answer({"live": True})

    async def ready(self, request: HttpRequest) -> Response:
        """Say whether new jobs will be done."""
        # In a thread: it may ask Triton, and looks through the processes of this machine.
        ready, details = await to_thread.run_sync(self.health.ready)
        # Whoever has no token learns yes or no.
        shown = details if request.state.quota != 0 else {}
        return answer({"ready": ready, **shown}, 200 if ready else 503)

    async def probe(self, request: HttpRequest) -> Response:
        """Do a one-step job of each method, or of one."""
        name = request.query_params.get("method")
        if name is not None and name not in self.service.served:
            raise RefusedError(404, f"method: expected one of {', '.join(self.service.served)}; got {name!r:.60}")
        names = [name] if name else self.health.methods()
        if not self.health.round.acquire(blocking=False):
            raise RefusedError(503, "probe: expected one round at a time, another is under way; try again later")
        try:
            await to_thread.run_sync(self.health.probe_all, names)
        finally:
            self.health.round.release()
        ready, details = await to_thread.run_sync(self.health.ready)
        return answer({"ready": ready, **details}, 200 if ready else 503)

    async def metrics(self, request: HttpRequest) -> Response:
        """Return what was counted."""
        ready, _ = await to_thread.run_sync(self.health.ready)
        gauges: list[tuple[str, dict[str, str], float]] = [
            ("tgm_lanes", {}, len(self.service.pool.lanes)),
            ("tgm_lanes_busy", {}, len(self.service.pool.running)),
            ("tgm_lane_deaths", {}, self.service.pool.deaths),
            ("tgm_event_streams", {}, EventStream.open),
            ("tgm_ready", {}, float(ready)),
        ]
        counts = self.jobs.counts()
        gauges += [("tgm_jobs", {"state": state}, counts.get(state, 0)) for state in STATES]
        return PlainTextResponse(self.service.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    async def page(self, request: HttpRequest) -> Response:
        """Return the studio."""
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    async def asset(self, request: HttpRequest) -> Response:
        """Return a file of the studio."""
        name = request.path_params["name"]
        if name not in {path.name for path in PAGE.iterdir()}:
            raise RefusedError(404, f"studio: has no file {name!r:.60}")
        return FileResponse(PAGE / name, headers={"Cache-Control": "no-cache"})


def drawn(path: Path, *, kind: str | None = None, download: bool = False) -> Response:
    """Return a file that somebody has drawn or sent, which may be anything: nothing in it can run."""
    if not path.is_file():
        raise RefusedError(404, f"file {path.name!r:.80}: is no longer there")
    media: Any = kind or media_type(path.name)
    name = path.name if download else None
    return FileResponse(path, media_type=media, filename=name, headers={**_SANDBOX, "Cache-Control": "no-store"})
