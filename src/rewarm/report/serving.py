"""The report of runs at work: made anew for whoever on this machine looks at it."""

from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rewarm.errors import RewarmError, StorageError
from rewarm.report.loading import Run, read_run
from rewarm.report.page import page

_LOOPBACK = "127.0.0.1"


class ReportServer(ThreadingHTTPServer):
    """A server that has the report at `/`, on the loopback address alone.

    The browser asks again by itself until every stage is finished. Requests under another host name are
    refused: a page from elsewhere could otherwise read the report through a name that leads here.
    """

    def __init__(self, run_paths: Sequence[Path], port: int, *, refresh_seconds: int) -> None:
        """Open the port.

        Args:
            run_paths: run folders; they are read anew for each request, and never written to.
            port: of 127.0.0.1; 0 for any that is free.
            refresh_seconds: after which the browser asks again.

        Raises:
            CampaignError: a folder is not that of a run.
            StorageError: the port is taken.
        """
        self.run_paths = run_paths
        self.refresh_seconds = refresh_seconds
        for path in run_paths:
            read_run(path)
        try:
            super().__init__((_LOOPBACK, port), _Handler)
        except OSError as error:
            raise StorageError(
                f"{_LOOPBACK}:{port} cannot be opened ({error.strerror}); give another --port, or 0 for any"
            ) from error


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    @property
    def _report_server(self) -> ReportServer:
        assert isinstance(self.server, ReportServer), "only such a server has these handlers"
        return self.server

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in (_LOOPBACK, "localhost"):
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", "only 127.0.0.1 and localhost\n")
        elif self.path != "/":
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "the report is at /\n")
        else:
            self._report()

    def _report(self) -> None:
        try:
            runs = [read_run(path) for path in self._report_server.run_paths]
            html = page(runs)
        except RewarmError as error:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", f"{error}\n")
            return
        refresh = None if all(map(_is_finished, runs)) else self._report_server.refresh_seconds
        self._answer(HTTPStatus.OK, "text/html", html, refresh)

    def _answer(self, status: HTTPStatus, kind: str, text: str, refresh: int | None = None) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        if refresh is not None:
            self.send_header("Refresh", str(refresh))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a line for each look would drown what matters."""


def _is_finished(run: Run) -> bool:
    return all(stage.result is not None for stage in run.stages.values())
