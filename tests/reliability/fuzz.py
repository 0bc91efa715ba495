"""A mutating fuzzer of the program's inputs: stdin, environment, annotations, files.

    PYTHONPATH=tests python -m reliability.fuzz --inputs 100000 --seed 1 --folder /tmp/fuzz

Every input goes through the CNI front in this process.  The answer has to be one JSON object or
nothing, without a traceback and without an internal error.  The fuzzer prints a JSON report, with
the ``repr`` of each input that got a wrong answer.

Definitions point into a tree of the host's files and of special files (``reliability.sentinels``),
by every key of the in-process plugins: at the end the tree must be unchanged.

Run it where it can write to *folder* only (the test does so): configurations name files and
folders, and mutated ones may name any.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
from binascii import crc32
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from reliability.sentinels import Sentinels

from multus.api.kubernetes import NotFound
from multus.cni import skel
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import load

COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")

#: Values that have broken programs before.
TOKENS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), 10**400, 1e308, 0.1, "", " ", "true",
    "..", "/", "../../etc/passwd", "a/b", "a\x00b", "\ud800", "\u202e", "é" * 300, "x" * 70000,
    "%s%n", "eth0", "0.0.0.0/0", "::/0", "fd00::/64", "10.0.0.0/33", "999.1.1.1", "1.1.0", "9.9.9",
    [], {}, [[]], [{}], {"": ""}, {"name": None}, [None] * 50, "[]", "{}", '[{"name":"a"}]', "a,b",
    "ns/a@if", "@", "/@", ",", "a@" + "i" * 16, "[" * 200, '{"type":', "ptp", "sriov", "multus",
)  # fmt: skip

#: The types that are links of the container, with every key that is served in-process.
_LINKS: tuple[dict[str, Any], ...] = (
    {"type": "bridge", "bridge": "br7", "isDefaultGateway": True, "forceAddress": True,
     "ipMasq": True, "ipMasqBackend": "nftables", "hairpinMode": True, "mtu": 1400},
    {"type": "bridge", "bridge": "br8", "isGateway": True, "promiscMode": True, "vlan": 7,
     "vlanTrunk": [{"minID": 10, "maxID": 12}, {"id": 20}], "preserveDefaultVlan": True,
     "portIsolation": True, "enabledad": True, "dns": {"nameservers": ["1.1.1.1"]}},
    {"type": "bridge", "bridge": "br7", "disableContainerInterface": True, "ipam": {}},
    {"type": "macvlan", "master": "uplink", "mode": "bridge", "mtu": 1400, "dns": {},
     "mac": "02:00:00:00:00:09", "linkInContainer": False},
    {"type": "ipvlan", "master": "uplink", "mode": "l2", "mtu": 1400, "linkInContainer": False},
    {"type": "vlan", "master": "uplink", "vlanId": 7, "mtu": 1400, "linkInContainer": False},
    {"type": "dummy", "dns": {"nameservers": ["1.1.1.1"]}},
    {"type": "host-device", "device": "nodev", "hwaddr": "02:00:00:00:00:07",
     "kernelpath": "/sys/devices/pci0/net", "pciBusID": "0000:99:00.0"},
    {"type": "loopback"},
    {"type": "flannel", "subnetFile": "/run/flannel/subnet.env", "dataDir": "/var/lib/cni/flannel",
     "delegate": {"bridge": "br9", "hairpinMode": True, "delegate": {"type": "flannel"}}},
)  # fmt: skip

#: The types that follow in a chain.
_CHAINED: tuple[dict[str, Any], ...] = (
    {"type": "portmap", "backend": "nftables", "snat": True, "masqAll": True, "markMasqBit": 13,
     "runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 8080, "hostIP": "::1",
                                         "protocol": "tcp"}]}},
    {"type": "portmap", "backend": "iptables", "conditionsV4": ["-i", "eth7"], "conditionsV6": [],
     "externalSetMarkChain": "KUBE-MARK-MASQ",
     "runtimeConfig": {"portMappings": [{"hostPort": 90, "containerPort": 9, "protocol": "UDP"}]}},
    {"type": "bandwidth", "ingressRate": 8000, "ingressBurst": 8000, "egressRate": 8000,
     "egressBurst": 8000},
    {"type": "sbr", "table": 77, "gateways": ["10.1.0.1"], "addSourceHints": True},
    {"type": "vrf", "vrfname": "red", "table": 9},
)  # fmt: skip

_TUNING: dict[str, Any] = {
    "type": "tuning", "mac": "02:00:00:00:00:08", "mtu": 1300, "promisc": True, "allmulti": True,
    "txQLen": 7, "sysctl": {"net.core.somaxconn": "500", "net.ipv4.conf.IFNAME.arp_filter": "1"},
    "args": {"cni": {"mtu": 1200}},
}  # fmt: skip

ANNOTATIONS = (
    "k8s.v1.cni.cncf.io/networks",
    "v1.multus-cni.io/default-network",
    "kubernetes.v1.cni.cncf.io/networks",
    "networks",
)


# --- Mutations -----------------------------------------------------------------------------------


@frozen
class Mutator:
    """Changes texts and JSON values at random, the same way for the same seed."""

    random: random.Random
    tokens: tuple[Any, ...] = TOKENS

    def text(self, data: bytes) -> bytes:
        """*data* with a few bytes changed, removed, repeated or inserted."""
        out = bytearray(data)
        for _ in range(self.random.choice((1, 1, 2, 8))):
            place = self.random.randrange(len(out) + 1)
            end = min(len(out), place + self.random.choice((1, 1, 4, 64)))
            action = self.random.randrange(5)
            if action == 0:
                out[place:end] = b""
            elif action == 1:
                out[place:place] = self.random.randbytes(self.random.choice((1, 1, 4, 64)))
            elif action == 2 and place < len(out):
                out[place] ^= 1 << self.random.randrange(8)
            elif action == 3:
                out[place:place] = out[place:end] * self.random.choice((1, 3, 100))
            else:
                parts = (b"{", b"]", b'"', b"\\u", b"\0", b"1e9", b",")
                out[place:place] = self.random.choice(parts)
        return bytes(out[: 1 << 20])

    def value(self, value: Any) -> Any:
        """The same value with one place in it replaced, removed or wrapped."""
        if isinstance(value, dict) and value and self.random.random() < 0.9:
            key = self.random.choice(sorted(value))
            changed = dict(value)
            action = self.random.randrange(12)
            if action == 0:
                del changed[key]
            elif action == 1:
                changed[str(self.random.choice(self.tokens))[:300]] = changed[key]
            else:
                changed[key] = self.value(value[key])
            return changed
        if isinstance(value, list) and value and self.random.random() < 0.9:
            place = self.random.randrange(len(value))
            action = self.random.randrange(12)
            if action == 0:
                return value[:place] + value[place + 1 :]
            if action == 1:
                return value[:place] + [value[place]] * self.random.choice((2, 300)) + value[place:]
            return value[:place] + [self.value(value[place])] + value[place + 1 :]
        if isinstance(value, str) and value and self.random.random() < 0.3:
            return self.text(value.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
        wrapped = self.random.random() < 0.05
        return [value] if wrapped else self.random.choice(self.tokens)

    def often(self, value: Any) -> Any:
        for _ in range(self.random.choice((1, 1, 2, 5))):
            value = self.value(value)
        return value

    def json(self, value: Any) -> bytes:
        """JSON of a mutated value; the text may be mutated too."""
        data = json.dumps(self.often(value)).encode("utf-8", "surrogatepass")
        return self.text(data) if self.random.random() < 0.3 else data


# --- Where it goes in ----------------------------------------------------------------------------


@frozen
class Objects:
    """A stand-in for the API: one pod and definitions, mutated as well."""

    node = "n1"
    annotations: Mapping[str, Any]
    definition: Any

    def get(self, wanted: Any, deadline: object) -> Any:
        return self.definition

    def get_each(self, wanted: Sequence[Any], deadline: object) -> list[Any]:
        return [self.definition for _ in wanted]

    def select(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return []

    def lacking(self, wanted: Sequence[Any], deadline: object) -> list[Any]:
        return list(wanted)

    def pod(self, namespace: str, name: str, deadline: object, uid: str = "") -> Any:
        return {"name": name, "namespace": namespace, "annotations": self.annotations}

    def write(self, writes: Sequence[Any], seconds: float) -> None:
        """Accept every write."""

    def edit(self, edit: Any, deadline: object) -> Any:
        """There is nothing that a plugin could edit."""
        raise NotFound("there is no such object", kind_known=False)

    def keep(self, edits: Sequence[Any]) -> None:
        """No edit was made that another one has to undo."""


@frozen
class Fuzzer:
    """Makes inputs, passes them to the front, and checks the answers."""

    mutator: Mutator
    engine: Engine
    folder: str
    sentinels: Sentinels
    netns: str
    codes: Counter[str] = field(factory=Counter)
    wrong: list[str] = field(factory=list)

    def stdin(self) -> None:
        """A configuration, and the environment."""
        environ = self._environ()
        if self.mutator.random.random() < 0.2:
            environ = {**environ, self._one(sorted(environ)): self._word()}
        raw = self._conf(self._one(("seed", "npwg", "chain", "gc")))
        stdin = self.mutator.json(raw) if self.mutator.random.random() < 0.9 else self._noise()
        self._answer("stdin", environ, stdin, self.engine)

    def annotation(self) -> None:
        """A pod's annotations, and the objects that they name."""
        wanted: Any = [{"name": "a", "namespace": "default", "interface": "net7", "mac": "x"}]
        addressed = [{"name": "a", "ips": ["1.2.3.4"]}]
        selections = [json.dumps(wanted), "a,default/b@net7", "a", json.dumps(addressed)]
        key = self._one(ANNOTATIONS)
        text: Any = self._one(selections)
        if text.startswith("[") and self.mutator.random.random() < 0.5:
            text = self.mutator.json(json.loads(text)).decode("utf-8", "replace")
        elif self.mutator.random.random() < 0.8:
            text = self.mutator.text(text.encode()).decode("utf-8", "replace")
        definition = self._definition()
        if self.mutator.random.random() < 0.3:
            definition = self.mutator.often(definition)
        if isinstance(definition, dict):
            self._live(Objects({key: text}, definition))

    def definition(self) -> None:
        """A definition that the pod selects correctly: its configuration reaches the plugins."""
        self._live(Objects({ANNOTATIONS[0]: "a"}, self._definition()))

    def _live(self, objects: Objects) -> None:
        """ADD with these objects, commands that may follow, then DEL."""
        engine = Engine(self.engine.installed, self.engine.log, api=objects)
        for command in ("ADD", *self._one(((), (), ("CHECK",), ("GC",))), "DEL"):
            environ = {**self._environ(command), "CNI_NETNS": self.netns}
            stdin = self._stdin("gc" if command == "GC" else "bare")
            said = self._answer("annotation", environ, stdin, engine)
            if command == "DEL" and said and len(self.wrong) < 20:
                self.wrong.append(f"a DEL that fails: {said!r:.600} for {objects!r}")

    def _definition(self) -> Any:
        config: Any = self._config()
        if self.mutator.random.random() < 0.6:
            config = Mutator(self.mutator.random, self._tokens()).often(config)
        return {
            "metadata": {"name": "a", "namespace": "default", "annotations": {}},
            "spec": {"config": json.dumps(config)},
            "plugin": config.get("type") if isinstance(config, dict) else "ptp",
            "args": json.dumps([config]),
        }

    def _tokens(self) -> tuple[Any, ...]:
        root = self.sentinels.root
        return (*TOKENS, root, *(f"{root}/{name}" for name in self.sentinels.names))

    def _config(self) -> dict[str, Any]:
        """A configuration of a tenant, with keys of every in-process plugin."""
        root, names = self.sentinels.root, self.sentinels.names
        place = f"{root}/{self._one(names)}"
        pools: tuple[dict[str, Any], ...] = (
            {"type": "host-local", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.2",
             "rangeEnd": "10.1.0.9", "gateway": "10.1.0.1", "routes": [{"dst": "10.0.0.0/8"}]},
            {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}],
             [{"subnet": "fd00:1::/64"}]], "dataDir": root},
            {"type": "host-local", "subnet": "10.1.0.0/24", "resolvConf": place},
            {"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": place},
            {"type": "static", "addresses": [{"address": "10.1.0.7/24", "gateway": "10.1.0.1"}],
             "routes": [{"dst": "0.0.0.0/0", "mtu": 1300, "table": 7, "scope": 0}],
             "dns": {"nameservers": ["10.1.0.1"], "domain": "x", "search": ["y"]}},
            {"type": "dhcp"},
        )  # fmt: skip
        pool = self._one(pools)
        # For paths that the node's owner allows tenants, the in-process plugin is used.
        if pool["type"] == "host-local" and self.mutator.random.random() < 0.5:
            pool["dataDir"] = self._one((f"{self.folder}/open", f"{self.folder}/open/pam.d"))
        kinds: tuple[dict[str, Any], ...] = (
            {"type": "ptp", "mtu": 1400, "ipMasq": False, "dns": {"nameservers": ["1.1.1.1"]}},
            {"type": "ptp", "ipMasq": True, "ipMasqBackend": "nftables"},
            {"type": "sriov", "if0": "enp1s0", "vlan": 5, "cniDir": place, "logFile": place,
             "logLevel": "debug"},
            {"type": "sriov", "deviceID": "0000:03:02.0", "mac": "02:00:00:00:00:07",
             "cniDir": root, "dns": {}},
            *_LINKS,
        )  # fmt: skip
        name = self._one(names) if self.mutator.random.random() < 0.5 else "a"
        config = {"cniVersion": "1.1.0", "name": name, "ipam": pool, **self._one(kinds)}
        if self.mutator.random.random() < 0.7:
            return config
        folder = self._one((place, root, f"{self.folder}/open", "/run/cni/tuning"))
        return {
            "cniVersion": "1.1.0",
            "name": name,
            "plugins": [config, self._one(({**_TUNING, "dataDir": folder}, *_CHAINED))],
        }

    def record(self) -> None:
        """A file under ``cniDir``: our record, or one of the Go Multus."""
        config = {"type": "ptp", "name": "n", "cniVersion": "1.0.0", "ipam": {"type": "host-local"}}
        lines: list[Any] = [
            {"kind": "intent", "format": 1, "started": 1.5, "container": "c1", "ifname": "eth0",
             "netns": "/run/netns/none", "netnsIdentity": "4:5", "path": ["/opt/cni/bin"],
             "args": "K8S_POD_NAME=a;K8S_POD_NAMESPACE=b", "conf": self._conf("seed"),
             "delegates": 1},
            {"kind": "delegate", "delegate": 0, "name": "n", "cniVersion": "1.0.0", "label": "b/n",
             "source": "source-nad", "ifname": "eth0", "primary": True, "default": True,
             "disableCheck": False, "disableGC": False, "options": {},
             "steps": [{"config": config, "invoker": "ptp"}]},
            {"kind": "attached", "delegate": 0, "versions": ["1.0.0"], "invokers": ["ptp"],
             "seconds": 0.1, "result": {"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.1/8"}],
             "interfaces": [{"name": "eth0", "sandbox": "/run/netns/none"}]}},
            {"kind": "finished", "result": {"cniVersion": "1.1.0"}},
        ]  # fmt: skip
        go = [{"type": "ptp", "masterplugin": True}, {"type": "ptp"}, {"Bytes": "e30="}]
        if self.mutator.random.random() < 0.15:
            self._write("c1", self.mutator.json(go))
        else:
            place = self.mutator.random.randrange(len(lines))
            lines[place] = self.mutator.often(lines[place])
            data = b"".join(map(_line, lines))
            damaged = self.mutator.random.random() < 0.3
            self._write("c1:eth0", self.mutator.text(data) if damaged else data)
        command = self._one(("ADD", "DEL", "DEL", "CHECK", "GC"))
        kind = "gc" if command == "GC" else self._one(("seed", "npwg"))
        self._answer("record", self._environ(command), self._stdin(kind), self.engine)
        for name in os.listdir(f"{self.folder}/state"):
            if name != ".lock":
                _remove(f"{self.folder}/state/{name}")

    # --- The parts -------------------------------------------------------------------------------

    def _one(self, choices: Sequence[Any]) -> Any:
        return self.mutator.random.choice(choices)

    def _word(self) -> str:
        # An environment holds bytes, but no NUL.
        text = str(self._one(TOKENS))[:5000].replace("\0", "")
        return os.fsdecode(text.encode("utf-8", "surrogatepass"))

    def _noise(self) -> bytes:
        return self.mutator.random.randbytes(self.mutator.random.choice((0, 1, 40, 4000)))

    def _environ(self, command: str = "") -> dict[str, str]:
        return {
            "CNI_COMMAND": command or self._one(COMMANDS),
            "CNI_CONTAINERID": "c1",
            "CNI_NETNS": "/run/netns/none",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": f"{self.folder}/bin",
            "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
        }

    def _conf(self, kind: str) -> dict[str, Any]:
        ipam = {
            "type": "host-local",
            "dataDir": f"{self.folder}/ipam",
            "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.3"}]],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}],
        }
        ptp = {"type": "ptp", "name": "a", "ipMasq": True, "mtu": 1400, "ipam": ipam}
        sriov = {"type": "sriov", "if0": "enp1s0", "vlan": 5, "l2enable": True}
        other = {"type": "other", "name": "b", "capabilities": {"mac": True}, "masterplugin": True}
        keys: dict[str, dict[str, Any]] = {
            "seed": {"delegates": [ptp, sriov, other], "always_use_default": False},
            "npwg": {"delegates": [ptp], "kubeconfig": "/none", "namespaceIsolation": False},
            "chain": {"delegates": [{"name": "c", "plugins": [ptp, other]}], "merger": "all"},
            "bare": {"kubeconfig": "/none"},
            "gc": {"cni.dev/valid-attachments": [{"containerID": "c2", "ifname": "eth0"}]},
        }
        return {
            "cniVersion": "1.1.0",
            "name": "node",
            "type": "multus",
            "cniDir": f"{self.folder}/state",
            "binDir": f"{self.folder}/bin",
            "confDir": f"{self.folder}/net.d",
            "logLevel": "panic",
            "tenantPaths": {"dataDir": [f"{self.folder}/open"]},
            "runtimeConfig": {"mac": "02:00:00:00:00:01"},
            "prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.2/24"}]},
            **keys[kind],
        }

    def _stdin(self, kind: str) -> bytes:
        return json.dumps(self._conf(kind)).encode()

    def _write(self, name: str, data: bytes) -> None:
        path = f"{self.folder}/state/{name}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)

    # --- The answer ------------------------------------------------------------------------------

    def _answer(self, kind: str, environ: Mapping[str, str], stdin: bytes, engine: Engine) -> bytes:
        """Answer, and note what is wrong; returns the error, nothing after a success."""
        answer: object = None
        status, stdout = 1, b""
        try:
            answer = status, stdout = skel.answer(environ, stdin, lambda *_: engine)
            problem = _problem(environ["CNI_COMMAND"], status, stdout)
            code = "0" if status == 0 else str(json.loads(stdout)["code"])
            self.codes[f"{kind} {code}"] += 1
        except Exception as error:  # noqa: BLE001  the front must not raise
            problem = f"{type(error).__name__}: {error}"
        if problem and len(self.wrong) < 20:
            made = (kind, dict(environ), stdin[:20000], engine.api)
            self.wrong.append(f"{problem}: {answer!r:.600} for {made!r}")
        return stdout if status else b""


def _problem(command: str, status: int, stdout: bytes) -> str:
    """The fault of an answer; empty when it is correct."""
    if b"Traceback" in stdout:
        return "a traceback"
    if b"internal error" in stdout or b"report it" in stdout:
        return "a defect"
    if status == 0 and command in ("DEL", "CHECK", "GC", "STATUS"):
        return "words" if stdout else ""
    value = json.loads(stdout)
    if not isinstance(value, dict):
        return "no object"
    if status and not {"cniVersion", "code", "msg"} <= value.keys():
        return "no error object"
    return "" if status in (0, 1) else f"status {status}"


def _line(value: Any) -> bytes:
    text = json.dumps(value).encode()
    return b"%08x %s\n" % (crc32(text), text)


def _remove(path: str) -> None:
    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz and report; 1 when an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--netns", default="/run/netns/none")
    options = parser.parse_args(arguments)
    for name in ("state", "bin", "net.d"):
        os.makedirs(f"{options.folder}/{name}", mode=0o700, exist_ok=True)
    engine = Engine(load(discover()), Log.from_conf({"logLevel": "panic", "logToStderr": False}))
    sentinels = Sentinels.plant(f"{options.folder}/host")
    # The same in the folders that tenants may use: there the in-process plugin is used.
    opened = Sentinels.plant(f"{options.folder}/open")
    before = [each.snapshot() for each in (sentinels, opened)]
    mutator = Mutator(random.Random(options.seed))
    fuzzer = Fuzzer(mutator, engine, options.folder, sentinels, options.netns)
    ways: tuple[Callable[[], None], ...] = (
        fuzzer.stdin, fuzzer.annotation, fuzzer.record, fuzzer.definition,
    )  # fmt: skip
    for number in range(options.inputs):
        ways[number % len(ways)]()
    changed = [*sentinels.changed(before[0]), *opened.changed(before[1])]
    codes = dict(sorted(fuzzer.codes.items()))
    json.dump({"codes": codes, "wrong": fuzzer.wrong, "changed": changed}, sys.stdout)
    return 1 if fuzzer.wrong or changed else 0


if __name__ == "__main__":
    sys.exit(main())
