"""A receiver of OTLP traces, over gRPC and over HTTP: one line of JSON for each span.

    python tests/otlp_receiver.py

The first line names the two ports; it exits when its stdin is closed.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

LOCK = threading.Lock()


def say(line: dict[str, Any]) -> None:
    with LOCK:
        print(json.dumps(line), flush=True)


def value(any_value: Any) -> Any:
    return getattr(any_value, any_value.WhichOneof("value"))


def receive(how: str, request: Any) -> None:
    for resource_spans in request.resource_spans:
        resource = {pair.key: value(pair.value) for pair in resource_spans.resource.attributes}
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                say(
                    {
                        "how": how,
                        "service": resource.get("service.name"),
                        "name": span.name,
                        "trace_id": span.trace_id.hex(),
                        "span_id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
                        "attributes": {pair.key: value(pair.value) for pair in span.attributes},
                        "events": [event.name for event in span.events],
                    }
                )


def export(request: Any, _context: Any) -> Any:
    receive("grpc", request)
    return ExportTraceServiceResponse()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        right = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
        if right:
            receive("http", ExportTraceServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse().SerializeToString() if right else b""
        self.send_response(200 if right else 404)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    method = grpc.unary_unary_rpc_method_handler(
        export,
        request_deserializer=ExportTraceServiceRequest.FromString,
        response_serializer=ExportTraceServiceResponse.SerializeToString,
    )
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    say({"grpc": grpc_port, "http": web.server_address[1]})
    sys.stdin.read()
    server.stop(None)
    web.shutdown()


if __name__ == "__main__":
    main()
