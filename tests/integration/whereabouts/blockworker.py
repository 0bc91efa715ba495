"""A process of `test_block_history`: pods of one node come and go, or its daemon has its rounds.

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

from multus_ipam_whereabouts import blocklending, blockreturning, blocktaking, objects

from integration.whereabouts.cluster import Node
from multus.api.conf import Conf
from multus.api.errors import AddressesExhausted, TryAgainLater
from multus.api.session import Session
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.log import Log


def pods(node: Node, keys: dict[str, Any], name: str, descriptor: int, calls: int) -> None:
    """Start and end containers in turn; the engine's DEL after a failed ADD included."""
    stay = keys.pop("stay")
    blocktaking._EVERY, blocktaking._LOOK = 0, 0.1
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
            time.sleep(chance.random() * stay)
        say("del", container)
        for _ in range(chance.choice((1, 1, 2))):
            node.delete(name, container=container, **keys)
        say("end", container)


def keeping_up(node: Node) -> None:
    """Lend what is wanted, take it back soon, and return what is empty; without grace, for ever."""
    conf = Conf.from_wire({"name": "multus", "type": "multus", "cniDir": node.cni_dir})
    cached = {use.resource: use.cached for use in objects.uses() if use.cached}
    api = NodeApi(load_kubeconfig(node.kubeconfig), os.uname().nodename, cached)
    api.start()
    blocklending._LASTS = 1.0
    while True:
        time.sleep(0.02)
        with Session(Log.from_conf({"logLevel": "panic"}), api=api) as session:
            try:
                blockreturning.upkeep(conf, session, 0.0)
            except TryAgainLater:
                continue


def main() -> None:
    given = json.loads(sys.argv[1])
    node = Node(None, given["kubeconfig"], given["cniDir"])  # type: ignore[arg-type]
    if not given["name"]:
        keeping_up(node)
    descriptor = os.open(given["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    pods(node, given["keys"], given["name"], descriptor, given["calls"])


if __name__ == "__main__":
    main()
