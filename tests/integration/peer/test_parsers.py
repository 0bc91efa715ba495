"""What the Go program's parsers act on, as data: Multus' configuration, definitions, annotations.

Each case runs through the stages of an ADD up to the order of its networks, with the installed
plugins.  The cases are those of its parsers (of the configuration, the selection annotation, the
client library for definitions, libcni) and of their tests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from multus.api.errors import CNIError
from multus.api.jsontext import decode_object
from multus.api.network import Delegate
from multus.api.request import Request
from multus.api.session import Session
from multus.cli.documents import Document
from multus.cli.objects import Objects, objects_in
from multus.engine import order, parse, resolve
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import load
from multus.registry.spelling import spelling_with

MASTER = {"type": "weave-net"}
NAD = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
NETWORKS = "k8s.v1.cni.cncf.io/networks"
DEFAULT_NETWORK = "v1.multus-cni.io/default-network"


def conf(**keys: Any) -> dict[str, Any]:
    base = {"name": "node-cni-network", "type": "multus", "cniVersion": "1.0.0"}
    return {**base, "delegates": [MASTER], **keys}


def definition(name: str, config: Any, namespace: str = "test") -> dict[str, Any]:
    text = config if isinstance(config, str) else json.dumps(config)
    spec = {} if config is None else {"config": text}
    return {**NAD, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def pod(namespace: str = "test", **annotations: str) -> dict[str, Any]:
    names = {"networks": NETWORKS, "default_network": DEFAULT_NETWORK}
    texts = {names[key]: text for key, text in annotations.items()}
    metadata = {"name": "web", "namespace": namespace, "annotations": texts}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


def delegates(text: str, *objects: dict[str, Any], namespace: str = "test") -> tuple[Delegate, ...]:
    """The networks of a container with the configuration *text*, in the order of an ADD."""
    entries = discover()
    raw = decode_object(text.encode(), "stdin")
    read = parse.parse(raw, spelling=spelling_with(entries))
    installed = load(entries, read.blocked_plugins, read.raw)
    parse.validate(read, installed)
    known = [named for each in objects for named in objects_in(Document("objects", each))]
    args = {"K8S_POD_NAMESPACE": namespace, "K8S_POD_NAME": "web"} if objects else {}
    request = Request("ADD", container_id="c1", ifname="eth0", args=args, dry_run=True)
    with Session(Log.from_conf({"logLevel": "panic"}), api=Objects.of(known)) as session:
        resolved = resolve.resolve(installed, request, read, session)
        return tuple(order.order(installed.hooks, resolved, request, read, session))


def types(found: tuple[Delegate, ...]) -> list[str]:
    return [each.types for each in found]


# --- Multus' configuration -----------------------------------------------------------------------

CONFIGURATIONS: list[tuple[str, dict[str, Any]]] = [
    ("delegates alone", {}),
    ("kubeconfig", {"kubeconfig": "/etc/kubernetes/node-kubeconfig.yaml"}),
    (
        "runtimeConfig",
        {"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}},
    ),
    ("log", {"logLevel": "debug", "logFile": "/dev/null"}),
    ("log level of another program", {"logLevel": "info"}),
    ("log level in capitals", {"logLevel": "DEBUG"}),
    ("empty log level", {"logLevel": "", "logFile": ""}),
    (
        "log options",
        {"logOptions": {"maxAge": 5, "maxSize": 100, "maxBackups": 5, "compress": True}},
    ),
    ("log options that are null", {"logOptions": {"maxAge": None}, "logToStderr": None}),
    ("isolation", {"namespaceIsolation": True}),
    ("isolation with names", {"namespaceIsolation": True, "globalNamespaces": "foo, bar ,default"}),
    (
        "names of namespaces that none has",
        {"globalNamespaces": "Foo,*,", "kubeconfig": "/k"},
    ),
    (
        "prevResult",
        {"prevResult": {"ips": [{"version": "4", "address": "10.0.0.5/32", "interface": 2}]}},
    ),
    ("readiness", {"readinessindicatorfile": "/dev/null"}),
    ("empty readiness", {"readinessindicatorfile": ""}),
    ("system namespaces", {"systemNamespaces": ["kube-system", "Other Words"]}),
    ("namespace of definitions", {"multusNamespace": "Some_Other", "kubeconfig": "/k"}),
    ("retry", {"retryDeleteOnError": True}),
    ("folders", {"confDir": "/nowhere", "cniDir": "/tmp/x", "binDir": "/nowhere"}),
    ("capabilities", {"capabilities": {"portMappings": True, "bandwidth": False}}),
    ("unknown keys", {"unheard": 1, "dns": {}, "ipam": {}}),
    ("default networks beside delegates", {"defaultNetworks": ["net1"]}),
    ("no default network", {"clusterNetwork": "", "defaultNetworks": []}),
    ("null", {"clusterNetwork": None, "defaultNetworks": None, "runtimeConfig": None}),
    ("letter case", {"KubeConfig": "/k", "LOGLEVEL": "debug", "NamespaceIsolation": False}),
    ("delegates in capitals", {"delegates": None, "DELEGATES": [{"TYPE": "weave-net"}]}),
    ("two spellings", {"Delegates": [{"type": "other"}], "DELEGATES": [{"type": "weave-net"}]}),
]


@pytest.mark.parametrize(
    "keys", [each[1] for each in CONFIGURATIONS], ids=[n for n, _ in CONFIGURATIONS]
)
def test_a_configuration(keys: dict[str, Any]) -> None:
    (only,) = delegates(json.dumps(conf(**keys)))
    assert (only.types, only.primary, only.ifname) == ("weave-net", True, "eth0")


DELEGATES: list[tuple[dict[str, Any], str]] = [
    ({"type": "mynet", "name": "net1"}, "mynet"),
    ({"type": "mynet", "Name": "net1", "capabilities": None}, "mynet"),
    ({"type": "mynet", "capabilities": {"ips": True, "mac": False}}, "mynet"),
    ({"name": "n", "plugins": [{"type": "a"}, {"type": "b", "ipam": {"type": "c"}}]}, "a+b"),
    ({"name": "n", "Plugins": [{"Type": "a"}]}, "a"),
    ({"name": "n", "type": "", "plugins": [{"type": "a"}]}, "a"),
    ({"name": "n", "plugins": [{"type": "a"}], "disableCheck": "TRUE", "disableGC": "false"}, "a"),
    ({"name": "n", "cniVersions": ["0.4.0", "1.0.0", "9.0.0"], "plugins": [{"type": "a"}]}, "a"),
    ({"type": "mynet", "cniVersion": ""}, "mynet"),
    ({"type": "mynet", "plugins": [{"type": "a"}, {"type": "b"}]}, "mynet"),
    ({"type": "mynet", "plugins": None}, "mynet"),
    ({"type": "mynet", "plugins": []}, "mynet"),
    ({"type": "mynet", "name": ""}, "mynet"),
    ({"type": "mynet", "ipam": {}, "dns": {"nameservers": ["10.0.0.1"]}}, "mynet"),
    ({"type": "mynet", "args": {"cni": {"ips": ["10.0.0.1"]}}}, "mynet"),
    ({"type": "flannel", "isDefaultGateway": True, "unheard": {"of": [1]}}, "flannel"),
]


@pytest.mark.parametrize(("config", "expected"), DELEGATES, ids=[str(c)[:60] for c, _ in DELEGATES])
def test_a_delegates_configuration(config: dict[str, Any], expected: str) -> None:
    assert types(delegates(json.dumps(conf(delegates=[config])))) == [expected]


def test_the_first_delegate_is_the_default_network_and_the_others_follow() -> None:
    found = delegates(json.dumps(conf(delegates=[MASTER, {"type": "b"}, {"type": "c"}])))
    assert [(each.types, each.primary) for each in found] == [
        ("weave-net", True),
        ("b", False),
        ("c", False),
    ]


REFUSED: list[tuple[str, str]] = [
    (json.dumps(conf())[:-1], "bad JSON"),
    (json.dumps(conf(delegates=[{"_not_type": "weave-net"}])), "no type"),
    (json.dumps(conf(delegates=[{"type": 5}])), "type of a wrong type"),
    (json.dumps(conf(delegates=[])), "no network"),
    (json.dumps(conf(delegates={})), "not a list"),
    (json.dumps(conf(logOptions={"maxAge": "5"})), "a number in quotes"),
    (json.dumps(conf(clusterNetwork=5)), "a name of a wrong type"),
    (json.dumps(conf(defaultNetworks="net1")), "names that are no list"),
    (json.dumps(conf(delegates=[{"plugins": []}])), "an empty chain"),
    (json.dumps(conf(delegates=[{"plugins": [{"name": "a"}]}])), "a chain without a type"),
]


@pytest.mark.parametrize("text", [each[0] for each in REFUSED], ids=[why for _, why in REFUSED])
def test_what_is_refused_there_is_refused_here(text: str) -> None:
    with pytest.raises(CNIError):
        delegates(text)


# --- clusterNetwork and defaultNetworks -----------------------------------------------------------


@pytest.fixture
def net_d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``confDir`` with a configuration, a list, a list with a folder, and a folder."""
    files: Mapping[str, Mapping[str, Any]] = {
        "10-one.conf": {"name": "one", "type": "a"},
        "20-two.conflist": {"name": "two", "plugins": [{"type": "a"}, {"type": "b"}]},
        "30-more.conflist": {"name": "more", "plugins": [{"type": "a"}]},
        "more/10-x.conf": {"type": "x"},
        "more/20-y.conf": {"Type": "y"},
        "40-alone.conflist": {"name": "more"},
        "50-inlined.conflist": {
            "name": "more",
            "plugins": [{"type": "i"}],
            "loadOnlyInlinedPlugins": "True",
        },
        "three.json": {"name": "three", "type": "c"},
        "folder/05-first.conf": {"name": "whatever", "type": "f"},
    }
    for name, config in files.items():
        path = tmp_path / "net.d" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"cniVersion": "1.0.0", **config}))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "net.d"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one", "a"),
        ("two", "a+b"),
        ("three", "c"),
        ("more", "a+x+y"),
        ("/10-one.conf", "a"),
        ("/20-two.conflist", "a+b"),
        ("/30-more.conflist", "a+x+y"),
        ("/40-alone.conflist", "x+y"),
        ("/50-inlined.conflist", "i"),
        ("/folder", "f"),
        ("./net.d/10-one.conf", "a"),
        ("net.d/folder", "f"),
        ("in-the-cluster", "n"),
    ],
)
def test_a_network_by_name_file_folder_or_definition(net_d: Path, name: str, expected: str) -> None:
    named = f"{net_d}{name}" if name.startswith("/") else name
    objects = [pod(), definition("in-the-cluster", {"type": "n"}, "kube-system")]
    keys = {"delegates": None, "kubeconfig": "/k", "confDir": str(net_d)}
    text = json.dumps(conf(**keys, clusterNetwork=named, defaultNetworks=["two"]))
    assert types(delegates(text, *objects)) == [expected, "a+b"]
    text = json.dumps(
        conf(**{**keys, "delegates": [{}]}, clusterNetwork="one", defaultNetworks=[named])
    )
    assert types(delegates(text, *objects)) == ["a", expected]


def test_pods_of_system_namespaces_have_no_default_networks(net_d: Path) -> None:
    keys: dict[str, Any] = {"delegates": None, "kubeconfig": "/k", "confDir": str(net_d)}
    keys |= {"clusterNetwork": "one", "defaultNetworks": ["two"]}
    at = pod("kube-system", networks="")
    assert types(delegates(json.dumps(conf(**keys)), at, namespace="kube-system")) == ["a"]


# --- Definitions ---------------------------------------------------------------------------------

WITH_API = conf(kubeconfig="/k")
CONFIGS: list[tuple[Any, str, str]] = [
    ({"name": "mine", "type": "mynet", "cniVersion": "0.2.0"}, "mynet", "mine"),
    ({"type": "mynet"}, "mynet", "net1"),
    ({"type": "mynet", "name": ""}, "mynet", "net1"),
    ({"type": "mynet", "Name": "mine"}, "mynet", "net1"),
    ({"Type": "mynet", "CNIVersion": "0.3.1"}, "mynet", "net1"),
    ({"name": "list", "plugins": [{"type": "a"}, {"type": "b"}]}, "a+b", "list"),
    ({"plugins": [{"type": "a"}]}, "a", "net1"),
    ('\n {"type": "mynet"} \n', "mynet", "net1"),
    ('{"type": "other", "type": "mynet"}', "mynet", "net1"),
]


@pytest.mark.parametrize(
    ("config", "chain", "name"), CONFIGS, ids=[str(c[0])[:50] for c in CONFIGS]
)
def test_a_definitions_configuration(config: Any, chain: str, name: str) -> None:
    objects = [pod(networks="net1"), definition("net1", config)]
    found = delegates(json.dumps(WITH_API), *objects)
    assert [(e.types, e.name, e.label) for e in found[1:]] == [(chain, name, "test/net1")]


def test_a_definition_without_a_configuration_is_a_file(net_d: Path) -> None:
    text = json.dumps({**WITH_API, "confDir": str(net_d)})
    objects = [pod(networks="one,two"), definition("one", None), definition("two", None)]
    assert types(delegates(text, *objects)) == ["weave-net", "a", "a+b"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"type": "mynet"}, [{"k": 1, "l": [2]}]),
        ({"type": "mynet", "args": {"cni": {"k": 0, "m": 3}}}, [{"k": 1, "l": [2], "m": 3}]),
        ({"plugins": [{"type": "a"}, {"type": "b", "args": {"x": 1}}]}, [{"k": 1, "l": [2]}] * 2),
        ({"type": "mynet", "plugins": [{"type": "a"}, {"type": "b"}]}, [{"k": 1, "l": [2]}]),
    ],
)
def test_cni_args_are_merged_into_every_plugin(config: Any, expected: list[Any]) -> None:
    element = [{"name": "net1", "cni-args": {"k": 1, "l": [2]}}]
    objects = [pod(networks=json.dumps(element)), definition("net1", config)]
    (_, found) = delegates(json.dumps(WITH_API), *objects)
    assert [plugin.config["args"]["cni"] for plugin in found.plugins] == expected


# --- Annotations ---------------------------------------------------------------------------------

ANNOTATIONS: list[tuple[str, list[str]]] = [
    ("net1", ["test/net1 net1"]),
    ("net1,net2", ["test/net1 net1", "test/net2 net2"]),
    (" net1 , other-ns/net3 ", ["test/net1 net1", "other-ns/net3 net2"]),
    ("other-ns / net3 @ eth7", ["other-ns/net3 eth7"]),
    ("net1@ib0,net2", ["test/net1 ib0", "test/net2 net2"]),
    ("net1@", ["test/net1 net1"]),
    ("/net1", ["test/net1 net1"]),
    ("net1,net1", ["test/net1 net1", "test/net1 net2"]),
    ("", []),
    ("[]", []),
    ('[{"name":"net1"}]', ["test/net1 net1"]),
    (
        '  [ {"name" : "net1"} , {"name":"net3","namespace":"other-ns"} ]\n',
        ["test/net1 net1", "other-ns/net3 net2"],
    ),
    (
        '[{"name":"net2","ipRequest":"1.2.3.4","macRequest":"aa:bb:cc:dd:ee:ff"}]',
        ["test/net2 net1"],
    ),
    ('[{"name":"net1","gateway":["10.0.0.1"]}]', ["test/net1 net1"]),
    ('[{"name":"net1","interface":"eth7"}]', ["test/net1 eth7"]),
    ('[{"name":"net1","interfaceRequest":"eth7"}]', ["test/net1 eth7"]),
    ('[{"name":"net1","interface":"eth8","interfaceRequest":"eth7"}]', ["test/net1 eth8"]),
    ('[{"NAME":"net1","Interface":"eth7"}]', ["test/net1 eth7"]),
    ('[{"name":"net9","name":"net1"}]', ["test/net1 net1"]),
    ('[{"name":"net1","namespace":""}]', ["test/net1 net1"]),
    ('[{"name":"net1","namespace":null,"ips":null,"mac":null}]', ["test/net1 net1"]),
    ('[{"name":"net1","mac":"","infiniband-guid":"","ips":[],"deviceID":""}]', ["test/net1 net1"]),
    (
        '[{"name":"net1","ips":["10.0.0.1","10.0.0.2/24","fd00::1","fd00::2/64"]}]',
        ["test/net1 net1"],
    ),
    ('[{"name":"net1","mac":"0200.5e10.0001"}]', ["test/net1 net1"]),
    ('[{"name":"net1","mac":"02-00-5e-10-00-01"}]', ["test/net1 net1"]),
    ('[{"name":"net1","infiniband-guid":"c2:11:22:33:44:55:66:77"}]', ["test/net1 net1"]),
    ('[{"name":"net1","infiniband-guid":"c2-11-22-33-44-55-66-77"}]', ["test/net1 net1"]),
    ('[{"name":"net1","portMappings":[{"hostPort":8080,"containerPort":80}]}]', ["test/net1 net1"]),
    ('[{"name":"net1","portMappings":[{"hostPort":0,"protocol":"icmp"}]}]', ["test/net1 net1"]),
    ('[{"name":"net1","portMappings":[]}]', ["test/net1 net1"]),
    ('[{"name":"net1","bandwidth":{"ingressRate":0,"other":1}}]', ["test/net1 net1"]),
    ('[{"name":"net1","bandwidth":{}}]', ["test/net1 net1"]),
    ('[{"name":"net1","cni-args":null}]', ["test/net1 net1"]),
    ('[{"name":"net1","cni-args":{}}]', ["test/net1 net1"]),
    ('[{"name":"net1","default-route":null}]', ["test/net1 net1"]),
    (
        '[{"name":"net1","default-route":[]},{"name":"net2","default-route":[]}]',
        ["test/net1 net1", "test/net2 net2"],
    ),
    (
        '[{"name":"net1","default-route":["10.0.0.1"]},{"name":"net2","default-route":["fd00::1"]}]',
        ["test/net1 net1", "test/net2 net2"],
    ),
    ('[{"name":"net1","default-route":["10.0.0.1","fd00::1"]}]', ["test/net1 net1"]),
]
THREE = [
    definition("net1", {"type": "mynet", "cniVersion": "0.2.0"}),
    definition("net2", {"type": "mynet2", "cniVersion": "0.4.0"}),
    definition("net3", {"type": "mynet3"}, "other-ns"),
]


@pytest.mark.parametrize(
    ("text", "expected"), ANNOTATIONS, ids=[text[:70] for text, _ in ANNOTATIONS]
)
def test_an_annotation(text: str, expected: list[str]) -> None:
    found = delegates(json.dumps(WITH_API), pod(networks=text), *THREE)
    assert [f"{each.label} {each.ifname}" for each in found[1:]] == expected
    assert found[0].primary


NOT_ACTED_ON = [
    "net1,",
    "net1,,net2",
    " ",
    "a/b/c",
    "net1@a@b/c",
    "Net1",
    "net_1",
    "net1@0123456789abcdef",
    "net1@a b",
    "[adsfasdfasdfasf]",
    '{"name":"net1"}',
    '["net1"]',
    "[null]",
    "[{}]",
    '[{"name":5}]',
    '[{"name":"net1","ips":"10.0.0.1"}]',
    '[{"name":"net1","ips":["10.0.0"]}]',
    '[{"name":"net1","ips":["10.0.0.1/33"]}]',
    '[{"name":"net1","mac":"aa:bb"}]',
    '[{"name":"net1","mac":5}]',
    '[{"name":"net1","infiniband-guid":"x"}]',
    '[{"name":"net1","portMappings":{}}]',
    '[{"name":"net1","portMappings":[{"hostPort":"80"}]}]',
    '[{"name":"net1","bandwidth":{"ingressRate":"1"}}]',
    '[{"name":"net1","cni-args":[]}]',
    '[{"name":"net1","default-route":["x"]}]',
    '[{"name":"net1","default-route":["10.0.0.1"]},{"name":"net2","default-route":["10.0.0.2"]}]',
    "not-there",
]


@pytest.mark.parametrize("text", [text for text in NOT_ACTED_ON if text.strip()])
def test_an_annotation_that_is_refused_there_is_refused_here(text: str) -> None:
    with pytest.raises(CNIError):
        delegates(json.dumps(WITH_API), pod(networks=text), *THREE)


def test_another_default_network() -> None:
    objects = [pod(default_network="net1"), definition("net1", {"type": "d"}, "kube-system")]
    found = delegates(json.dumps(WITH_API), *objects)
    assert [(e.types, e.primary, e.ifname) for e in found] == [("d", True, "eth0")]


@pytest.mark.parametrize(
    ("keys", "text", "allowed"),
    [
        ({"namespaceIsolation": True}, "other-ns/net3", False),
        ({"namespaceIsolation": True, "globalNamespaces": "foo, other-ns"}, "other-ns/net3", True),
        ({"namespaceIsolation": True}, "net1", True),
        ({"namespaceIsolation": False}, "other-ns/net3", True),
    ],
)
def test_isolation(keys: dict[str, Any], text: str, allowed: bool) -> None:
    asked = json.dumps({**WITH_API, **keys})
    if allowed:
        assert len(delegates(asked, pod(networks=text), *THREE)) == 2
    else:
        with pytest.raises(CNIError):
            delegates(asked, pod(networks=text), *THREE)
