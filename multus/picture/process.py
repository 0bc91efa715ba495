"""A process that serves the page of its node until a signal ends it."""

from __future__ import annotations

import signal
from collections.abc import Callable

from multus.picture.following import Following
from multus.picture.page import NodePage
from multus.picture.serving import Server, listening, url


def serve(address: str, cni_dir: str, begun: Callable[[str], None], name: str = "") -> None:
    """Serve the node whose records are in *cni_dir* at *address*; for the main thread.

    *begun* gets the page's URL once it is served; *name* is the node's.  Ends by SIGTERM or SIGINT.
    Raises ``CNIError`` when it cannot begin.
    """
    listener = listening(address)
    following = Following(cni_dir, name)
    try:
        run(Server(listener, NodePage(following.look).answer, [following]), url(listener), begun)
    finally:
        following.close()


def run(server: Server, where: str, begun: Callable[[str], None]) -> None:
    """Run *server*, whose page is at the URL *where*, until SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    begun(where)
    server.run()
