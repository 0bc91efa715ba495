"""One network's life in the engine of this process: ADD, CHECK, DEL and GC."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.kubernetes import NotFound
from multus.api.network import Provenance
from multus.api.request import Request, parse_args
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import load
from multus.testing.netns import Netns

NODE, TENANT = Provenance.NODE, Provenance.TENANT
ARGS = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"

#: The timeout of each verb, in seconds.
LONG = 600.0


@frozen
class Definitions:
    """A stand-in for the API: each pod requests the networks with these definitions, by name."""

    node = "n1"
    configs: Mapping[str, Mapping[str, Any]]

    def get(self, wanted: Any, deadline: object) -> Any:
        return {"spec": {"config": json.dumps(self.configs[wanted.name])}}

    def get_each(self, wanted: Sequence[Any], deadline: object) -> list[Any]:
        return [self.get(each, deadline) for each in wanted]

    def select(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return []

    def lacking(self, wanted: Sequence[Any], deadline: object) -> list[Any]:
        return list(wanted)

    def pod(self, namespace: str, name: str, deadline: object, uid: str = "") -> Any:
        return {"annotations": {"k8s.v1.cni.cncf.io/networks": ",".join(self.configs)}}

    def write(self, writes: Sequence[Any], seconds: float) -> None:
        """Accept every write."""

    def edit(self, edit: Any, deadline: object) -> Any:
        """There is nothing that a plugin could edit."""
        raise NotFound("there is no such object", kind_known=False)

    def keep(self, edits: Sequence[Any]) -> None:
        """No edit was made that another one has to undo."""


class Life:
    """ADD, CHECK, DEL and GC of one network, written by the node's owner or by a tenant."""

    def __init__(self, pod: Netns, folder: Path, config: Any, provenance: Provenance) -> None:
        raw = {"cniVersion": "1.1.0", "name": "node", "type": "multus", "logToStderr": False}
        raw |= {"cniDir": str(folder / "multus"), "binDir": str(folder / "none")}
        raw |= {"delegates": [config]} if provenance is NODE else {"kubeconfig": "/none"}
        api = Definitions({"net": config}) if provenance is TENANT else None
        self.pod, self.raw = pod, raw
        self.engine = Engine(load(discover()), Log.from_conf(raw), api=api)

    def request(self, verb: str) -> Request:
        self.engine.deadline = time.monotonic() + LONG
        request = Request(verb, args=parse_args(ARGS))
        if verb != "GC":
            request = evolve(request, container_id="c1", netns=self.pod.path, ifname="eth0")
        return request

    def outcomes(self) -> dict[str, CNIError | None]:
        """The result of each verb; DEL is retried, as runtimes do."""
        conf = Conf.from_wire(self.raw)
        gc = Conf.from_wire({**self.raw, "cni.dev/valid-attachments": []})
        verbs: dict[str, Callable[[], object]] = {
            "ADD": lambda: self.engine.add(self.request("ADD"), conf),
            "CHECK": lambda: self.engine.check(self.request("CHECK"), conf),
            "DEL": lambda: self.engine.delete(self.request("DEL"), conf),
            "DEL again": lambda: self.engine.delete(self.request("DEL"), conf),
            "GC": lambda: self.engine.collect_garbage(self.request("GC"), gc),
        }
        found: dict[str, CNIError | None] = {}
        for verb, carry_out in verbs.items():
            try:
                carry_out()
            except CNIError as error:
                found[verb] = error
            else:
                found[verb] = None
        return found
