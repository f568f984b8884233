"""A webhook's other end over real HTTP, which this test's RECYCLE_WEBHOOK leads to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from components.watch import webhook

SECRET = "T0/B0/planted-secret"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        self.bodies, self.answers, self.trickles = [], [], False
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.path, self.headers["Content-Type"], json.loads(body)))
        if self.server.trickles:
            while not self.server.closing.wait(0.05):
                self.wfile.write(b"H")
            return
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == "hang up":
            return
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()

    def log_message(self, *arguments):
        """Quiet."""


@pytest.fixture
def webhook_server(monkeypatch):
    monkeypatch.setattr(webhook, "FIRST_WAIT_S", 0.01)
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv("RECYCLE_WEBHOOK", f"http://127.0.0.1:{server.server_port}/{SECRET}?key=1")
        yield server
        server.closing.set()
        server.shutdown()
