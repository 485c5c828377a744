"""The report of a running search in a browser: served on this machine alone, written anew when the search went on."""

import math
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from nas.errors import RunError, UserError
from nas.results.report.whole import report_html
from nas.search.records import run_folders

REST_SECONDS = 4.0
"""Least time between two writings of the report: it must not take the processor from the search."""

WATCHED = ("journal.log", "pareto.json", "confirmed.json")


class Watcher:
    """The newest page of a run, and the stamp of the files that it was made of."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._stamp = ""
        self._page = ""
        self._written = -math.inf

    def stamp(self) -> str:
        """The stamp of the files as they are now; that of the page while it is still too young to be written anew."""
        now = "-".join(
            f"{found.st_mtime_ns}.{found.st_size}"
            for folder in run_folders(self._run)
            for name in WATCHED
            if (file := folder / name).exists() and (found := file.stat())
        )
        return self._stamp if time.monotonic() - self._written < REST_SECONDS else now

    def page(self) -> str:
        """The report. Raises UserError where it cannot be made."""
        with self._lock:
            stamp = self.stamp()
            if stamp != self._stamp or not self._page:
                self._page = report_html(self._run, stamp=stamp)
                self._stamp, self._written = stamp, time.monotonic()
            return self._page


def server(run: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of the report on 127.0.0.1, at the port or any free one, not yet serving. Raises RunError where there is
    no run or the port is taken."""
    watcher = Watcher(run)
    watcher.page()

    class Handler(BaseHTTPRequestHandler):
        """The page and its stamp, for pages of this server only."""

        def do_GET(self) -> None:
            """One of the two."""
            status, kind = HTTPStatus.OK, "text/plain"
            if self.headers.get("Host", "") not in {f"{host}:{self.server.server_port}" for host in HOSTS}:  # type: ignore[attr-defined]
                status, text = HTTPStatus.FORBIDDEN, "this page is for this machine only"
            elif self.path == "/stamp":
                text = watcher.stamp()
            elif self.path == "/":
                try:
                    kind, text = "text/html", watcher.page()
                except UserError as error:
                    status, text = HTTPStatus.SERVICE_UNAVAILABLE, str(error)
            else:
                status, text = HTTPStatus.NOT_FOUND, "there is nothing here; open /"
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: the terminal is for people."""

    try:
        made = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "ports are 0 to 65535"
        raise RunError(f"port {port} cannot be used: {reason}; give --port another one, or none") from error
    made.daemon_threads = True
    return made


HOSTS = ("127.0.0.1", "localhost")
