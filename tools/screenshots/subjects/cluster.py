"""The page of a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from multus.picture.cluster.reading import ASKED, STATUS
from multus.testing.apiserver import ApiServer
from tools.screenshots.studio import DESKTOP, PHONE, Studio

#: Of each pod: namespace, name, node, and its interfaces with network and address.
_PODS = (
    ("shop", "web-0", "worker-1", "pods 10.244.1.7", "shop/storage 192.0.2.10"),
    ("shop", "web-1", "worker-2", "pods 10.244.2.4", "shop/storage 192.0.2.11"),
    ("shop", "web-2", "worker-3", "pods 10.244.3.9", "shop/storage 192.0.2.12"),
    (
        "shop",
        "cart-0",
        "worker-2",
        "pods 10.244.2.5",
        "shop/storage 192.0.2.12",
        "shop/backup fd00::5",
    ),
    ("db", "postgres-0", "worker-1", "pods 10.244.1.8", "db/replication 198.51.100.2"),
    ("db", "postgres-1", "worker-3", "pods 10.244.3.2", "db/replication 198.51.100.3"),
    ("media", "encoder-0", "worker-4", "pods 10.244.4.2", "media/sriov 203.0.113.2"),
    ("media", "encoder-1", "worker-4", "pods 10.244.4.3", "media/sriov 203.0.113.3"),
)
_PATIENCE = 60.0


def take(studio: Studio) -> None:
    """Take the page of a cluster in which an address is there twice and a status is missing."""
    with ApiServer() as api, _served(api) as url:
        for size in (DESKTOP, PHONE):
            studio.page("cluster", url, size)


def _fill(api: ApiServer) -> None:
    for number, (namespace, name, node, *interfaces) in enumerate(_PODS):
        entries = []
        for index, each in enumerate(interfaces):
            network, address = each.split()
            mac = f"02:00:00:00:{number:02x}:{index:02x}"
            interface = f"net{index}" if index else "eth0"
            entry = {"name": network, "interface": interface, "ips": [address], "mac": mac}
            entries.append(entry)
        api.create_pod(name, {STATUS: json.dumps(entries)}, namespace=namespace, node=node)
    asked = {ASKED: "sriov, storage"}
    since = {"creationTimestamp": "2026-01-05T09:12:44Z"}
    api.create_pod("encoder-2", asked, namespace="media", node="worker-4", **since)


@contextmanager
def _served(api: ApiServer) -> Iterator[str]:
    """Where the page is, once the cluster has been read."""
    _fill(api)
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = api.write_kubeconfig(folder)
        argv = [sys.executable, "-m", "multus", "serve", "--kubeconfig", kubeconfig]
        argv += ["--address", "127.0.0.1:0"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                url = process.stdout.readline().strip()
                _wait(url)
                yield url
            finally:
                process.terminate()


def _wait(url: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while b"not read yet" in urllib.request.urlopen(url, timeout=_PATIENCE).read():
        if time.monotonic() > deadline:
            raise RuntimeError("the cluster was not read")
        time.sleep(0.1)
