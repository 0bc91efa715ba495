"""Serve a page with the picture of this node, and its last requests.

The page follows the node: what changes is drawn within seconds. It only shows;
nothing can be changed by it. It has no passwords: whoever reaches the address
may read it, on 127.0.0.1 any user of this machine. Ctrl-C ends it.

With --kubeconfig it is the page of a cluster: nodes by networks, who has which
address, addresses that two pods have in one network, pods without a status. It
is read from the annotations of pods, which needs the right to list pods and
nothing else, at most every 10 s, and only while somebody looks.

Examples:
  multus serve
  multus serve --address 127.0.0.1:9000
  ssh -L 8470:127.0.0.1:8470 NODE multus serve    look at a node from elsewhere
  multus serve --kubeconfig ~/.kube/config --context east
"""

from __future__ import annotations

import argparse

from multus.cli import attachments, screen, telling
from multus.cli.clusters import add_cluster

ADDRESS = "127.0.0.1:8470"

STATUSES = {
    0: "Ctrl-C or SIGTERM has ended it",
    1: "it could not begin, and the error says why",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address", default=ADDRESS, metavar="IP:PORT", help="(%(default)s; port 0: any)"
    )
    attachments.configure(parser)
    add_cluster(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal ends it; prints the page's address first."""
    from multus.picture.process import serve
    from multus.serving.address import is_loopback

    if not is_loopback(arguments.address):
        screen.complain(f"multus serve: whoever reaches {arguments.address} may read the page")

    def begun(url: str) -> None:
        screen.say(url)
        screen.flush()
        telling.end()

    if arguments.kubeconfig:
        from multus.picture.cluster import process

        process.serve(arguments.address, arguments.kubeconfig, arguments.context, begun)
    else:
        serve(arguments.address, arguments.cni_dir, begun)
    return 0
