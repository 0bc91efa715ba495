"""The cluster of a sample: an API server with its objects, and two unreachable servers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from multus.testing.apiserver import ApiServer

#: The placeholders of a sample, and their paths below the test's folder.
PLACES: Mapping[str, str] = {
    "@KUBECONFIG@": "cluster/kubeconfig",
    "@NOWHERE@": "nowhere/kubeconfig",
    "@SILENT@": "silent/kubeconfig",
}


@frozen
class SampleCluster:
    """The API server (None without ``objects``), and the pod of the requests as JSON."""

    api: ApiServer | None = None
    pod: Mapping[str, Any] = field(factory=dict)

    @property
    def args(self) -> dict[str, str]:
        """The ``CNI_ARGS`` for the pod."""
        metadata = self.pod.get("metadata", {})
        return {
            f"K8S_POD_{key.upper()}": metadata[key]
            for key in ("namespace", "name", "uid")
            if key in metadata
        }


@contextmanager
def serving(objects: Sequence[Mapping[str, Any]], folder: str) -> Iterator[SampleCluster]:
    """Serve *objects*, use the first pod for the requests, and write ``PLACES``."""
    from multus.testing.apiserver import ApiServer

    with ApiServer() as api, socket.socket() as nowhere, socket.socket() as silent:
        for each in (nowhere, silent):
            each.bind(("127.0.0.1", 0))
        # One refuses connections; the other accepts them and never answers.
        silent.listen()
        urls = (api.url, *(f"https://127.0.0.1:{s.getsockname()[1]}" for s in (nowhere, silent)))
        for place, url in zip(PLACES.values(), urls, strict=True):
            directory = os.path.join(folder, os.path.dirname(place))
            os.makedirs(directory)
            api.write_kubeconfig(directory, server=url)
        stored = [api.create(each) for each in objects]
        yield SampleCluster(api, next((each for each in stored if each.get("kind") == "Pod"), {}))
