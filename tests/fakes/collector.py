"""A collector of traces that takes OTLP over HTTP, in a thread of its own, and keeps what it was told."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class FakeCollector:
    """What it was told, in order. ``status`` is what it answers from now on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 200
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        """By their names in small letters."""
        self.has_come = threading.Event()

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resource(self) -> dict[str, Any]:
        """What is said of who tells, the last time."""
        return attributes(self.requests[-1].resource_spans[-1].resource)


def attributes(of: Any) -> dict[str, Any]:
    """Those of a span or a resource, as Python has them."""
    return {one.key: _value(one.value) for one in of.attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


@contextmanager
def collecting(port: int = 0) -> Iterator[FakeCollector]:
    """A collector on this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.headers.append({name.lower(): value for name, value in self.headers.items()})
            if told.status == 200:
                told.bodies.append(body)
            self.send_response(told.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            told.has_come.set()

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    told = FakeCollector(f"http://127.0.0.1:{server.server_port}/v1/traces")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
