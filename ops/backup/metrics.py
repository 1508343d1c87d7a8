"""What the sidecar tells of backups, named once; and the port where Prometheus and the container's health check ask."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from ops.backup.failures import Cause

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ASK_TIMEOUT_S = 10.0


class Metrics:
    """The metrics of one sidecar. Times are in seconds since 1970; 0 is never."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.last_success = self._gauge(
            "last_success_timestamp_seconds", "When the source was last found in a snapshot."
        )
        self.last_verified = self._gauge("last_verified_timestamp_seconds", "When the newest snapshot was verified.")
        self.last_drill = self._gauge("last_drill_timestamp_seconds", "When a drill last ended, well or not.")
        self.drill_ok = self._gauge("drill_ok", "1 when the last drill ended well, 0 when not or when there was none.")
        self.at_risk = self._gauge(
            "at_risk_seconds", "Age of the newest snapshot that has everything, while some is not."
        )
        self.interval = self._gauge("interval_seconds", "Seconds between two looks at the source.")
        self.snapshots = self._gauge("snapshots", "Snapshots in the store.")
        self.size = self._gauge("source_bytes", "Size of the database in the newest snapshot.")
        self.stored = self._gauge("store_bytes", "Size of everything in the store.")
        self.new = self._gauge("new_bytes", "What the newest snapshot added to the store.")
        self.wal = self._gauge("wal_bytes", "Size of the source's write-ahead log.")
        self.free = self._gauge("disk_free_bytes", "Room left where the store is.")
        self.duration = self._gauge("duration_seconds", "How long the newest snapshot took.")
        self.stall = self._gauge(
            "writer_stall_seconds", "Longest transaction of the source's writer while it was copied."
        )
        self.chunks = self._gauge("chunks", "Chunks that the newest snapshot is made of.")
        self.damaged = self._gauge("damaged_snapshots", "Snapshots that cannot be restored any more.")
        self.scrubbed = self._counter("scrubbed_files_total", "Stored files that were read again.")
        self.behind = self._gauge("copy_behind", "Snapshots that a copy lacks.", "copy")
        self.copied = self._gauge("copy_last_success_timestamp_seconds", "When a copy last lacked nothing.", "copy")
        self.failures = self._counter("failures_total", "What went wrong, by its cause.", "cause")
        for cause in get_args(Cause):
            self.failures.labels(cause)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"sovereign_backup_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"sovereign_backup_{name}", text, labels, registry=self.registry)


@contextmanager
def answering(
    host: str, port: int, registry: CollectorRegistry, refresh: Callable[[], None]
) -> Generator[int, None, None]:
    """Answer `/metrics` and `/health/live` while a block runs; yield the port. Raises OSError when it is taken."""

    class Handler(BaseHTTPRequestHandler):
        timeout = ASK_TIMEOUT_S

        def do_GET(self) -> None:
            match self.path:
                case "/metrics":
                    refresh()
                    self._answer(200, generate_latest(registry), CONTENT_TYPE)
                case "/health/live":
                    self._answer(200, b'{"status":"ok"}\n', "application/json")
                case _:
                    self._answer(404, b"", "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep scrapes out of the log."""

    server = ThreadingHTTPServer((host, port), Handler)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
