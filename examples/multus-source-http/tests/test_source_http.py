from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import multus_source_http as source
import pytest

from multus.api.conf import Conf
from multus.api.errors import TryAgainLater
from multus.api.request import Request
from multus.testing.session import new_session


class Endpoint(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/networks/shop/web" else 404)
        self.end_headers()
        self.wfile.write(json.dumps([{"name": "storage", "type": "macvlan"}]).encode())


def test_an_answer_outlives_the_endpoint(tmp_path):
    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/networks"
        conf = Conf.from_wire({"name": "node", "cniDir": f"{tmp_path}/cni", source.KEY: url})
        web, new, late = (
            Request("ADD", args={"K8S_POD_NAMESPACE": "shop", "K8S_POD_NAME": pod})
            for pod in ("web", "new", "late")
        )
        first = source.multus_select(web, conf, new_session())
        assert [each.name for each in first.elements] == ["storage"]
        assert source.multus_select(new, conf, new_session()) is None
        server.shutdown()
    assert source.multus_select(web, conf, new_session()) == first
    with pytest.raises(TryAgainLater):
        source.multus_select(late, conf, new_session())
