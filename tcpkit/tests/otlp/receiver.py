"""A receiver of OTLP over HTTP, on OpenTelemetry's own protobuf package.

Prints the port that it listens on, then a JSON line for every request: what the official classes decode of it.
With the names of a certificate and its key it speaks TLS.
"""

import gzip
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics


def attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def number(point):
    return {"value": getattr(point, point.WhichOneof("value"))}


def exponential(point):
    assert point.HasField("sum") and not point.negative.bucket_counts
    return {
        "count": point.count,
        "sum": point.sum,
        "max": point.max if point.HasField("max") else None,
        "scale": point.scale,
        "zeros": point.zero_count,
        "offset": point.positive.offset,
        "buckets": list(point.positive.bucket_counts),
    }


def told(metric):
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    if kind != "gauge":
        assert data.aggregation_temporality == metrics.AGGREGATION_TEMPORALITY_CUMULATIVE
    if kind == "sum":
        assert data.is_monotonic
    read = exponential if kind == "exponential_histogram" else number
    points = []
    for point in data.data_points:
        assert 0 < point.start_time_unix_nano <= point.time_unix_nano
        points.append({"attributes": attributes(point.attributes), **read(point)})
    return {"name": metric.name, "unit": metric.unit, "kind": kind, "points": points}


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        assert self.headers["Content-Type"] == "application/x-protobuf"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = service.ExportMetricsServiceRequest.FromString(body)
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                line = {
                    "path": self.path,
                    "tenant": self.headers.get("X-Tenant"),
                    "bytes": len(body),
                    "resource": attributes(resource.resource.attributes),
                    "scope": scope.scope.name,
                    "metrics": [told(metric) for metric in scope.metrics],
                }
                print(json.dumps(line), flush=True)
        answer = service.ExportMetricsServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *words):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
if len(sys.argv) > 1:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
