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
    server = Server(listener, NodePage(following.look).answer, [following])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    begun(url(listener))
    try:
        server.run()
    finally:
        following.close()
