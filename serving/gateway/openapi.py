"""The gateway's own description, for programs that make clients of it."""

from collections.abc import Mapping
from typing import Any

from runtime.version import __version__
from serving.gateway.service import PRIORITY
from serving.methods import Served, options_schema

_FILE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
    "required": ["name", "sha256"],
    "description": "A file that was sent to /v1/files.",
}
_PATHS: dict[str, dict[str, tuple[str, dict[str, str]]]] = {
    "/v1/methods": {"get": ("The methods, with the options of each", {"200": "JSON"})},
    "/v1/files": {"post": ("Send a file; the body is its content", {"201": "Its SHA-256", "413": "Too large"})},
    "/v1/jobs": {
        "get": ("The newest jobs", {"200": "JSON"}),
        "post": (
            "Submit a request; the same again joins its job",
            {"201": "A new job", "200": "The job that is there", "422": "What is wrong with it", "503": "Full"},
        ),
    },
    "/v1/jobs/{id}": {
        "get": ("A job", {"200": "JSON", "404": "None of this id"}),
        "put": ("Submit a request under an id of one's own", {"201": "A new job", "200": "Is there", "409": "Taken"}),
        "delete": ("Delete a job that has ended", {"204": "Deleted", "409": "It has not ended"}),
    },
    "/v1/jobs/{id}/cancel": {"post": ("Cancel a job, queued or running", {"200": "The job"})},
    "/v1/jobs/{id}/retry": {"post": ("Queue a job again that failed or was cancelled", {"200": "The job"})},
    "/v1/jobs/{id}/events": {"get": ("Its events; Last-Event-ID resumes", {"200": "text/event-stream"})},
    "/v1/jobs/{id}/preview": {"get": ("The last drawing on the way", {"200": "A picture", "404": "None yet"})},
    "/v1/jobs/{id}/manifest": {"get": ("What made the result", {"200": "JSON", "409": "Not done"})},
    "/v1/jobs/{id}/files/{name}": {"get": ("A file of the result", {"200": "Its content", "404": "None"})},
    "/v1/events": {"get": ("The events of all jobs", {"200": "text/event-stream"})},
    "/v1/health/live": {"get": ("Whether the server answers", {"200": "It does"})},
    "/v1/health/ready": {"get": ("Whether new jobs will be done", {"200": "They will", "503": "They will not"})},
    "/v1/health/probe": {"post": ("Do a one-step job of each method", {"200": "How each went", "503": "One failed"})},
    "/metrics": {"get": ("Prometheus' text format", {"200": "Text"})},
}


def openapi(served: Mapping[str, Served]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a server."""
    requests = [request_schema(method) for method in served.values()]
    paths: dict[str, Any] = {}
    for path, operations in _PATHS.items():
        paths[path] = {}
        for verb, (summary, responses) in operations.items():
            operation: dict[str, Any] = {
                "summary": summary,
                "responses": {status: {"description": text} for status, text in responses.items()},
            }
            if parameters := [part[1:-1] for part in path.split("/") if part.startswith("{")]:
                operation["parameters"] = [
                    {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parameters
                ]
            if verb in ("post", "put") and path in ("/v1/jobs", "/v1/jobs/{id}"):
                operation["requestBody"] = {
                    "required": True, "content": {"application/json": {"schema": {"oneOf": requests}}}
                }  # fmt: skip
            paths[path][verb] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "tgm", "version": __version__, "summary": "Jobs that draw, and resume after a crash."},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


def request_schema(served: Served) -> dict[str, Any]:
    """Return the JSON schema of a request of a method."""
    options = options_schema(served.method.config)
    properties = {name: with_file(option) for name, option in options["properties"].items()}
    return {
        "type": "object",
        "title": served.name,
        "description": served.summary,
        "properties": {
            "method": {"const": served.name},
            "options": {**options, "properties": properties},
            "id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
            "priority": {"type": "integer", "minimum": PRIORITY[0], "maximum": PRIORITY[1], "default": 0},
            "deadline_s": {"type": "number", "exclusiveMinimum": 0},
            "webhook": {"type": "string", "format": "uri"},
        },
        "required": ["method"],
        "additionalProperties": False,
    }


def with_file(option: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an option in OpenAPI 3.1: a file is an object, and null a type."""
    plain = {name: value for name, value in option.items() if name not in ("nullable", "format")}
    if option.get("format") == "file":
        plain = _FILE
    elif option.get("type") == "string" and "enum" not in option:
        # A text may be a file's place, too: a mask, an order.
        plain = {"oneOf": [plain, _FILE]}
    return {"oneOf": [plain, {"type": "null"}]} if option.get("nullable") else dict(plain)
