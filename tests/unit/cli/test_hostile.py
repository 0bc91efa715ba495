"""Every command that shows names, fed with names that would drive a terminal or forge a line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import frozen
from unit.cli.conftest import Command, Said

from multus.api.network import Attachment, Delegate, Plugin
from multus.api.request import Request
from multus.api.result import IP, Interface, Result
from multus.cli import names
from multus.log.trace import append
from multus.picture.cluster.reading import ASKED, STATUS
from multus.state.journal import Journal
from multus.state.record import Planned, Step
from multus.testing.apiserver import ApiServer

#: Moves the cursor, sets a title, ends a line, reverses text, is markup of rich.
H = "\x1b[2J\x1b]0;t\x07\nerror: forged\r\x9b31m\u202e\u2028\x7f\x1b[31m"
H += "[red]x[/red][link=a]y[/]:boom:"
#: As far as an argument, a file's name or YAML can hold it.
PATH = H.replace("/", "")
#: What JSON can hold beside it.
JSON = H + "\udc9b\ud800"

STYLE = re.compile(r"\x1b\[[0-9;]*m")


@frozen
class Ground:
    """A folder with hostile state, and the command."""

    folder: Path
    run: Command
    monkeypatch: pytest.MonkeyPatch

    def write(self, name: str, content: Any) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return str(path)

    @property
    def state(self) -> str:
        return str(self.folder / "state")

    def record(self) -> None:
        """A container whose namespace is gone, with a network of a hostile name and type."""
        journal = Journal(self.state)
        journal.prepare()
        config = {"type": H, "name": H, "cniVersion": "1.0.0"}
        step = Step(Plugin(config, H), config, H)
        delegate = Delegate(H, (step.plugin,), "1.0.0", H, ifname="eth0")
        args = {"K8S_POD_NAMESPACE": H, "K8S_POD_NAME": H}
        environ = {"CNI_ARGS": ";".join(f"{key}={value}" for key, value in args.items())}
        request = Request(
            "ADD",
            "c1",
            f"/run/netns/{H.replace(chr(47), chr(45))}",
            "eth0",
            ("/bin",),
            args,
            environ,
        )
        conf = {"name": H, "type": "multus", "cniVersion": "1.1.0", "binDir": self.state}
        planned = Planned(delegate, (step,))
        writer = journal.begin(request, conf, (planned,))
        result = Result((Interface("eth0", H, H),), (IP("10.1.0.2/24", "10.1.0.1", 0),))
        writer.attached(0, Attachment(delegate, result, ("1.0.0",), (H,), 0.25))
        writer.close()
        self.write("state/c2:eth0", H)
        self.write(f"state/c3:eth0:damaged{PATH}", "")
        self.write("state/c4", H)


def trace(ground: Ground) -> list[Said]:
    delegate = {"ifname": JSON, "types": JSON, "network": JSON, "invokers": [JSON], "seconds": 0.1}
    base = {"time": 1.0, "command": JSON, "container": "c1", "ifname": JSON, "pod": JSON}
    error = {"code": 7, "msg": JSON}
    entries: list[dict[str, Any]] = [
        {**base, "stages": {"invoke": 0.1, JSON: 0.2}, "delegates": [delegate], "error": error},
        {**base, "delegate": delegate, "undone": True},
        {"time": JSON, "stages": {"invoke": JSON}, "delegates": [5, {"seconds": []}], "error": {}},
        {"time": 1e308, "delegates": JSON, "stages": {"invoke": None}, "error": {"code": JSON}},
    ]
    for each in entries:
        append(ground.state, each)
    where = ("--cni-dir", ground.state)
    return [ground.run("trace", *where), ground.run("trace", H, *where)]


def events(ground: Ground) -> list[Said]:
    trace(ground)
    where = ("--cni-dir", ground.state)
    return [ground.run("events", *where), ground.run("events", "--network", H, *where)]


def _node(ground: Ground) -> tuple[str | Path, ...]:
    """A hostile configuration, record and trace; the options that name their places."""
    trace(ground)
    ground.record()
    ipam = {"type": "host-local", "subnet": "10.1.0.0/30", "dataDir": f"/{H}"}
    conf = {"name": "n", "type": "multus", "cniVersion": "1.0.0", "cniDir": ground.state}
    given = {**conf, "kubeconfig": f"/{H}", "delegates": [{"type": H, "name": H, "ipam": ipam}]}
    ground.write(f"net.d/10{PATH}.conf", given)
    return ("--net-d", ground.folder / "net.d", "--socket", ground.folder / PATH)


def status(ground: Ground) -> list[Said]:
    return [ground.run("status", *_node(ground))]


def top(ground: Ground) -> list[Said]:
    return [ground.run("top", "--once", *_node(ground))]


def attachments(ground: Ground) -> list[Said]:
    ground.record()
    where = ("--cni-dir", ground.state)
    forms = ("wide", "yaml", "name")
    more = [ground.run("attachments", "-o", each, *where) for each in forms]
    return [ground.run("attachments", *where), *more, ground.run("attachments", "-n", H, *where)]


def graph(ground: Ground) -> list[Said]:
    ground.record()
    status = json.dumps([{"name": H, "interface": H, "ips": [H], "mac": H}])
    with ApiServer() as api:
        for name in (H, f"{H}2"):
            api.create_pod(name, {STATUS: status}, namespace=H, node=H)
        api.create_pod(f"{H}3", {ASKED: H}, namespace=H, node=H)
        api.create_pod(f"{H}4", {STATUS: H}, namespace=H, node=H)
        kubeconfig = api.write_kubeconfig(ground.folder)
        cluster = ground.run("graph", "--kubeconfig", kubeconfig)
    return [cluster, ground.run("graph", "--cni-dir", ground.state)]


def serve(ground: Ground) -> list[Said]:
    return [
        ground.run("serve", "--address", H),
        ground.run("serve", "--kubeconfig", ground.write(PATH, {H: H}), "--context", H),
    ]


def gc(ground: Ground) -> list[Said]:
    ground.record()
    where = ("--cni-dir", ground.state)
    return [ground.run("gc", "--dry-run", *where), ground.run("gc", *where)]


def ipam(ground: Ground) -> list[Said]:
    """A pool that somebody has filled with other things than a pod's name and an interface's."""
    held = {"1": {"id": H, "podref": f"{H}/{H}", "ifname": H}}
    pool = {
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
        "kind": "IPPool",
        "metadata": {"name": f"{PATH}-10.1.0.0-24", "namespace": "kube-system"},
        "spec": {"range": "10.1.0.0/24", "allocations": held},
    }
    with ApiServer() as api:
        api.create(pool)
        where = ("--kubeconfig", api.write_kubeconfig(ground.folder))
        words = (("status",), ("list",), ("reconcile", "--dry-run"), ("release", H))
        return [ground.run("ipam", *each, *where) for each in words]


def apply(ground: Ground) -> list[Said]:
    ground.record()
    where = ("--cni-dir", ground.state)
    return [
        ground.run("apply", "c1", "--dry-run", *where),
        ground.run("apply", f"{H}/{H}", *where),
        ground.run("apply", H, *where),
        ground.run("apply", "c", *where),
    ]


def explain(ground: Ground) -> list[Said]:
    delegates = [
        {"type": H, "name": H, H: H, "invoker": H, "ipam": {"type": H}},
        {"type": "ptp", "name": H, H: H, "ipam": {"routes": [{"dst": H, "gw": H}]}},
        {"type": "bridge", "name": "lan", "ipam": {"routes": [{"dst": "0.0.0.0/0", "gw": H}]}},
    ]
    conf = {"name": "n", "type": "multus", "cniVersion": "1.0.0", "kubeconfig": "/k"}
    conf |= {"binDir": f"/{H}", "cniDir": ground.state}
    metadata = {"name": H, "namespace": H, "annotations": {"k8s.v1.cni.cncf.io/networks": H}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    said = []
    for index in range(len(delegates)):
        offered = {**conf, "delegates": delegates[index:], "readinessindicatorfile": f"/{H}"}
        path = ground.write(f"{index}{PATH}.conf", offered)
        said.append(ground.run("explain", "--conf", path))
        said.append(ground.run("explain", "--conf", path, "-f", ground.write("pod.json", pod)))
    return [*said, ground.run("explain", "--conf", PATH), ground.run("explain", "--pod", H)]


def validate(ground: Ground) -> list[Said]:
    conf = {"name": H, "type": "multus", "cniVersion": H, H: H, "delegates": [{"type": H, H: H}]}
    nad = {"apiVersion": H, "kind": "NetworkAttachmentDefinition", "metadata": {"name": H}}
    good = {**nad, "apiVersion": "k8s.cni.cncf.io/v1", "spec": {"config": json.dumps({"type": H})}}
    paths = [
        ground.write(f"{PATH}.conf", conf),
        ground.write("nad.json", nad),
        ground.write("good.json", good),
        ground.write("broken.conf", f'{{"a": 1, {H}'),
        ground.write("broken.yaml", f"a: {H}\n\tb: [\n"),
        f"{ground.folder}/{PATH}",
    ]
    return [ground.run("validate", *(word for path in paths for word in ("-f", path)))]


def doctor(ground: Ground) -> list[Said]:
    conf = {"name": "n", "type": "multus", "cniVersion": "1.0.0", "cniDir": ground.state, H: H}
    given = {"binDir": f"/{H}", "kubeconfig": f"/{H}", "delegates": [{"type": H}], **conf}
    ground.write("net.d/10-multus.conf", given)
    ground.write(f"net.d/00{PATH}.conf", {"type": H})
    ground.write(f"networks/{PATH}/10.0.0.1", H)
    ground.write(f"sriov/pci/{PATH}", f"/run/netns/{H}")
    ground.write(f"state/.spool/1.{PATH}", H)
    ground.write("daemon.json", {H: H})
    ground.record()
    options = {"net-d": "net.d", "bin-dir": PATH, "socket": "sock", "addresses": "networks"}
    options |= {"results": "results", "sriov": "sriov", "settings": "daemon.json"}
    options["cni-dir"] = "state"
    words = [word for key, name in options.items() for word in (f"--{key}", ground.folder / name)]
    return [ground.run("doctor", *words)]


def convert(ground: Ground) -> list[Said]:
    meta = {"name": H, "namespace": H, "annotations": {"k8s.v1.cni.cncf.io/networks": H}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta}
    config = json.dumps({"type": "ptp", "name": "lan", H: H})
    nad: dict[str, Any] = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
    }
    nad |= {"metadata": {"name": H}, "spec": {"config": config}}
    path = ground.write("all.json", {"apiVersion": "v1", "kind": "List", "items": [pod, nad]})
    same = ground.run("convert", "-f", path)
    assert list(yaml.safe_load_all(same.out)) == [pod, nad]
    told = ground.run("convert", "--to", "network", "-f", ground.write("nad.json", nad))
    assert [each["kind"] for each in yaml.safe_load_all(told.out)] == ["Network"]
    broken = ground.write("broken.yaml", f"{H}\n\t[")
    return [same, told, ground.run("convert", "-f", broken), ground.run("convert", "-f", PATH)]


def plugins(ground: Ground) -> list[Said]:
    ground.write("site/hostile.py", f"raise ImportError({H!r})\n")
    ground.write(
        "site/hostile-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: hostile\nVersion: 1\n"
    )
    ground.write("site/hostile-1.dist-info/entry_points.txt", "[multus]\nodd = hostile\n")
    ground.monkeypatch.syspath_prepend(str(ground.folder / "site"))
    return [ground.run("plugins")]


def install(ground: Ground) -> list[Said]:
    where = ("--net-d", ground.folder / PATH, "--bin-dir", ground.folder / PATH)
    conf = ground.write(f"{PATH}.conf", {"name": H, "type": H})
    return [ground.run("install", *where, "--dry-run"), ground.run("install", *where, "-c", conf)]


def uninstall(ground: Ground) -> list[Said]:
    where = ("--net-d", ground.folder / PATH, "--cni-dir", ground.state)
    ground.record()
    return [ground.run("uninstall", *where)]


def calls(ground: Ground) -> list[Said]:
    """What is wrong with a call itself."""
    return [
        ground.run(H),
        ground.run("trace", f"--{H.replace(' ', '')}"),
        ground.run("trace", "--last", H),
        ground.run("help", H),
        ground.run("completion", H),
        ground.run("new-plugin", "source", H),
        ground.run("new-plugin", "source", "a", "--into", f"/proc/none/{H}"),
        ground.run("daemon", "--config", ground.write(f"{PATH}.json", {H: H})),
        ground.run("conformance", H),
    ]


SHOWN = (
    *(trace, attachments, gc, apply, explain, validate, doctor),
    *(convert, plugins, install, uninstall, events, status, top, graph, serve, ipam),
)
#: They show nothing that comes from outside, but for what is wrong with the call.
OWN = {"completion", "conformance", "daemon", "demo", "help", "man", "new-plugin", "version"}


def test_every_command_is_in_the_table() -> None:
    assert {each.__name__ for each in SHOWN} | OWN == set(names())


@pytest.mark.parametrize("styled", [False, True], ids=["plain", "terminal"])
@pytest.mark.parametrize("command", [*SHOWN, calls], ids=lambda each: str(each.__name__))
def test_nothing_but_printable_text_reaches_the_screen(
    command: Callable[[Ground], list[Said]],
    styled: bool,
    tmp_path: Path,
    multus: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if styled:
        monkeypatch.setenv("FORCE_COLOR", "1")
    answers = command(Ground(tmp_path, multus, monkeypatch))
    assert any(r"\x1b[2J" in said.out + said.err for said in answers), answers
    for said in answers:
        for text in (said.out, said.err):
            if styled:
                assert "\x1b[31m[red]" not in text
                text = STYLE.sub("", text)
            assert [char for char in text if char != "\n" and not char.isprintable()] == []
            assert not re.search(r"^error: forged", text, re.MULTILINE)
            assert "Traceback" not in text
        assert "💥" not in said.out + said.err


def test_markup_in_names_is_shown_as_it_stands(
    tmp_path: Path, multus: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = Ground(tmp_path, multus, monkeypatch)
    for said in (trace(ground)[0], gc(ground)[0], validate(ground)[0]):
        assert "[red]x[/red][link=a]y[/]:boom:" in said.out


def test_json_for_programs_is_exact_and_in_ascii(
    tmp_path: Path, multus: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = Ground(tmp_path, multus, monkeypatch)
    trace(ground)
    said = multus("trace", "--last", "3", "--json", "--cni-dir", ground.state)
    assert said.out.isascii() and said.out.replace("\n", "").isprintable()
    assert json.loads(said.out.splitlines()[0])["delegate"]["network"] == JSON
    ground.record()
    said = multus("attachments", "--json", "--cni-dir", ground.state)
    assert said.out.isascii() and said.out.replace("\n", "").isprintable()
    assert said.json["records"][0]["attachments"][0]["network"] == H


def test_what_an_encoding_lacks_is_escaped(
    tmp_path: Path, multus: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(str(tmp_path / "state"), {"time": 1.0, "container": "c", "pod": "ns/café"})
    with (tmp_path / "out").open("w", encoding="ascii") as narrow:
        monkeypatch.setattr("sys.stdout", narrow)
        assert multus("trace", "--cni-dir", tmp_path / "state").status == 0
    assert r"ns/caf\xe9" in (tmp_path / "out").read_text()
