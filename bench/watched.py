"""What the stand-in for the API server sends to a node that watches, and what it stores."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from multus.api.kubernetes import Resource
from multus.kube.urls import list_path
from multus.testing.apiserver import ApiServer
from multus.testing.apiserver.store import compact_json


class Watch(threading.Thread):
    """A watch as each node has it, which counts bytes."""

    def __init__(self, api: ApiServer, kind: Resource) -> None:
        super().__init__(name=f"watch {kind.plural}", daemon=True)
        context = ssl.create_default_context(cadata=api.ca_pem.decode())
        self._connection = http.client.HTTPSConnection("127.0.0.1", api.port, context=context)
        self._path = (
            f"{list_path(kind, '')}?watch=true&allowWatchBookmarks=true"
            f"&resourceVersion={api.store.version}"
        )
        self._headers = {"Authorization": f"Bearer {api.access.token}"}
        self._news = threading.Condition()
        self._version = api.store.version
        self.bytes = self.events = 0

    def run(self) -> None:
        self._connection.request("GET", self._path, headers=self._headers)
        answer = self._connection.getresponse()
        while line := answer.readline():
            event = json.loads(line)
            with self._news:
                if event["type"] != "BOOKMARK":
                    self.bytes += len(line)
                    self.events += 1
                self._version = int(event["object"]["metadata"]["resourceVersion"])
                self._news.notify_all()

    def wait_for(self, version: int) -> None:
        """Wait until all up to *version* has come."""
        with self._news:
            if not self._news.wait_for(lambda: self._version >= version, timeout=600):
                raise RuntimeError(f"the {self.name} ended before version {version}")


@contextmanager
def watched(api: ApiServer, kind: Resource) -> Iterator[Watch]:
    watch = Watch(api, kind)
    watch.start()
    yield watch


def stored(api: ApiServer, kind: Resource) -> list[int]:
    """The bytes of each object of a kind."""
    served = api.store.kind(kind.group, kind.version, kind.plural)
    assert served is not None, kind
    found = api.store.objects(served, "", ())
    return [len(compact_json(each)) for each in found]
