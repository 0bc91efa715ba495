"""Serves the page of a cluster until a signal ends the process."""

from __future__ import annotations

from collections.abc import Callable

from multus.picture.cluster.following import Following
from multus.picture.cluster.page import ClusterPage
from multus.picture.cluster.reading import open_client, read
from multus.picture.process import run
from multus.picture.serving import Server, listening, url


def serve(address: str, kubeconfig: str, context: str, begun: Callable[[str], None]) -> None:
    """Serve the cluster of a kubeconfig's *context* at *address*; for the main thread.

    *begun* gets the page's URL once it is served.  Raises ``CNIError`` when it cannot begin.
    """
    client = open_client(kubeconfig, context)
    try:
        listener = listening(address)
        following = Following(client.server, lambda: read(client))
        try:
            run(Server(listener, ClusterPage(following.look).answer), url(listener), begun)
        finally:
            following.close()
    finally:
        client.close()
