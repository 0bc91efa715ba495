"""The cluster that a sample describes: its objects behind an API server, and two that are away."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from multus.testing.apiserver import ApiServer

#: What a sample may write for a path, and where below the test's folder that is.
PLACES: Mapping[str, str] = {
    "@KUBECONFIG@": "cluster/kubeconfig",
    "@NOWHERE@": "nowhere/kubeconfig",
    "@SILENT@": "silent/kubeconfig",
}


@frozen
class Cluster:
    """An API server, None without one, and the pod that requests are for, in its wire form."""

    api: ApiServer | None = None
    pod: Mapping[str, Any] = field(factory=dict)

    @property
    def args(self) -> dict[str, str]:
        """What a runtime says of the pod in ``CNI_ARGS``."""
        metadata = self.pod.get("metadata", {})
        return {
            f"K8S_POD_{key.upper()}": metadata[key]
            for key in ("namespace", "name", "uid")
            if key in metadata
        }


@contextmanager
def serving(objects: Sequence[Mapping[str, Any]], folder: str) -> Iterator[Cluster]:
    """Serve *objects*, the first pod among them being the requests', and write ``PLACES``."""
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
        yield Cluster(api, next((each for each in stored if each.get("kind") == "Pod"), {}))
