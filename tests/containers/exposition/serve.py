"""Stands in for dcgm-exporter: tells what was written down beside this file. Run in a container of its own."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

RECORDED = Path(__file__).with_name("dcgm.prom").read_bytes()


class Handler(BaseHTTPRequestHandler):
    """Answers `/health` and `/metrics`."""

    def do_GET(self) -> None:
        body = {"/health": b"OK", "/metrics": RECORDED}.get(self.path)
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Say nothing of each scrape."""


if __name__ == "__main__":
    HTTPServer(("0.0.0.0", 9400), Handler).serve_forever()
