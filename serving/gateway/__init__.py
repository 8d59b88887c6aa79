"""The gateway: jobs over HTTP with server-sent events, access, health, metrics."""
