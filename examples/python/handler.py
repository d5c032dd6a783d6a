"""A handler for Layby over HTTP, in Python's standard library: it takes payments.

    python3 handler.py 8000

and in layby.yaml:

    routes: [{type: "*", webhook: {url: "http://localhost:8000/events", timeout: 5s}}]
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

lock = Lock()
taken = {}  # by Layby-Position: an event can come again, and must not be charged twice
newest = {}  # the highest fencing token, by partition: an owner that was replaced is refused


def problem(status, title, **headers):
    return status, {"Content-Type": "application/problem+json", **headers}, json.dumps({"title": title}).encode()


def take(position, token, value):
    """Returns status, headers and body: the verdict on the event."""
    partition, _, _ = position.rpartition("@")
    with lock:
        if token < newest.get(partition, 0):
            return problem(409, "another member owns this partition by now")
        newest[partition] = token
        if position in taken:
            return 204, {}, b""  # done before
    try:
        payment = json.loads(value)
        amount, card = payment["amount"], payment["card"]
    except (ValueError, KeyError, TypeError):
        return problem(422, "this is no payment")  # no attempt will succeed: a dead letter
    if card == "expired":
        return problem(409, "the card has expired", **{"Layby-Verdict": "needs-correction"})
    if card == "bank down":
        return problem(503, "the bank does not answer", **{"Retry-After": "1"})  # tried again; behind a circuit breaker
    with lock:
        taken[position] = amount
    return 204, {}, b""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are used again

    def do_POST(self):
        value = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, body = take(self.headers["Layby-Position"], int(self.headers["Layby-Fencing-Token"]), value)
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000), Handler)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
