from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import multus_observer_webhook as observer

from multus.api.conf import Conf
from multus.api.errors import TryAgainLater
from multus.api.network import Outcome
from multus.api.request import Request


def test_the_hook_is_told_of_a_failure():
    told = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        conf = Conf.from_wire({"name": "node", observer.KEY: url})
        outcome = Outcome("ADD", error=TryAgainLater("the API is away"))
        observer.multus_finished(outcome, Request("ADD", container_id="c1"), conf)
    assert told[0]["container"] == "c1" and told[0]["error"]["code"] == 11
    assert observer.multus_validate(conf) == []
    assert observer.multus_validate(Conf.from_wire({"name": "node", observer.KEY: "x"}))
