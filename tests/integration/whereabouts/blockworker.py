"""A process of `test_block_history`: pods of one node come and go, or its daemon returns blocks.

It is killed at any moment, so what it does is in the file ``said`` before and after each step, a
line each: the moment in seconds, what, the container, and the address.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from typing import Any

from multus_ipam_whereabouts import blockreturning

from integration.whereabouts.cluster import Node
from multus.api.conf import Conf
from multus.api.errors import AddressesExhausted, TryAgainLater
from multus.api.session import Session
from multus.kube.client import KubeClient
from multus.kube.kubeconfig import load_kubeconfig
from multus.log import Log


def pods(node: Node, keys: dict[str, Any], name: str, descriptor: int, calls: int) -> None:
    """Start and end containers in turn; the engine's DEL after a failed ADD included."""
    chance = random.Random(name)

    def say(what: str, container: str, address: str = "") -> None:
        os.write(descriptor, f"{time.monotonic()} {what} {container} {address}\n".encode())

    for number in range(calls):
        container = f"{name}-{number}"
        say("add", container)
        try:
            (address,) = node.addresses(name, container=container, **keys)
        except (TryAgainLater, AddressesExhausted):
            pass
        else:
            say("has", container, address.partition("/")[0])
            time.sleep(chance.random() * 0.2)
        say("del", container)
        for _ in range(chance.choice((1, 1, 2))):
            node.delete(name, container=container, **keys)
        say("end", container)


def returning(node: Node) -> None:
    """Return what is empty, without any grace, for ever."""
    conf = Conf.from_wire({"name": "multus", "type": "multus", "cniDir": node.cni_dir})
    client = KubeClient(load_kubeconfig(node.kubeconfig))
    while True:
        with Session(Log.from_conf({"logLevel": "panic"}), api=client) as session:
            try:
                blockreturning.upkeep(conf, session, 0.0)
            except TryAgainLater:
                continue


def main() -> None:
    given = json.loads(sys.argv[1])
    node = Node(None, given["kubeconfig"], given["cniDir"])  # type: ignore[arg-type]
    if not given["name"]:
        returning(node)
    descriptor = os.open(given["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    pods(node, given["keys"], given["name"], descriptor, given["calls"])


if __name__ == "__main__":
    main()
