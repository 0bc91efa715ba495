"""The page follows its node: pods come and go, and somebody changes a link by hand."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
from contextlib import closing

import pytest
from waiting import PATIENCE, eventually

from integration.picture.conftest import Served
from multus.netlink import Namespace
from multus.testing.runtime import installed_program


def test_pods_appear_with_their_requests_and_go(served: Served) -> None:
    assert "No pod is attached" in served.parts()["picture"]
    container = served.attach("web-0", "bridge", "macvlan")
    found = eventually(lambda: "shop/web-0" in served.parts()["picture"] and served.parts())
    assert isinstance(found, dict)
    for words in ("10.88.0.2/24", "192.0.2.2/29", "br0", "uplink", "storage"):
        assert f">{words}<" in found["picture"]
    assert '<b>ADD</b><span class="who">shop/web-0' in found["requests"]
    served.runtime.delete(served.conf("bridge", "macvlan"), container).require()
    eventually(lambda: "<b>DEL</b>" in served.parts()["requests"])
    assert "No pod is attached" in served.parts()["picture"]


def test_a_link_that_somebody_changes_on_the_node_or_in_the_pod_is_seen(served: Served) -> None:
    served.attach("web-0", "bridge")
    eventually(lambda: "shop/web-0" in served.parts()["picture"])
    (pod,) = served.made
    pod.ip("address", "add", "203.0.113.9/24", "dev", "eth0")
    eventually(lambda: "203.0.113.9/24" in served.parts()["picture"])
    served.node.ip("address", "add", "203.0.113.1/24", "dev", "br0")
    eventually(lambda: "203.0.113.1/24" in served.parts()["picture"])
    pod.ip("link", "delete", "eth0")
    eventually(lambda: "there is no interface" in served.parts()["picture"])


def test_while_nothing_changes_nothing_is_read_again(served: Served) -> None:
    served.attach("web-0", "bridge")
    eventually(lambda: "shop/web-0" in served.parts()["picture"])
    host = served.url.removeprefix("http://").removesuffix("/")
    etags = set()
    for _ in range(3):
        with closing(http.client.HTTPConnection(host, timeout=PATIENCE)) as peer:
            peer.request("GET", "/parts")
            answer = peer.getresponse()
            etags.add(answer.getheader("ETag"))
            answer.read()
    assert len(etags) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal_ends_it(served: Served, number: signal.Signals) -> None:
    served.attach("web-0", "ptp")
    argv = [*installed_program(), "serve", "--address", "127.0.0.1:0"]
    argv += ["--cni-dir", f"{served.folder}/state"]
    command = served.node.command(argv)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            host, port = process.stdout.readline().decode().split("/")[2].split(":")
            with Namespace(served.node.path) as there, closing(_client(there, host, port)) as peer:
                peer.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
                text = b""
                while more := peer.recv(65536):
                    text += more
            assert b"<title>" in text
            assert b"shop/web-0" in text
            assert b"routes of the node" in text
        finally:
            process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == b""


def _client(there: Namespace, host: str, port: str) -> socket.socket:
    peer = there.socket(socket.AF_INET, socket.SOCK_STREAM)
    peer.settimeout(PATIENCE)
    peer.connect((host, int(port)))
    return peer
