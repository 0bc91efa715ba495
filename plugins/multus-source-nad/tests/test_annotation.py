"""The selection annotation: a table of valid and invalid forms, and hypothesis' examples."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multus_source_nad.annotation import parse, runtime_config

from multus.api.errors import InvalidConfig
from multus.api.kubernetes import annotation_of
from multus.api.network import Element

ORIGIN = "annotation 'k8s.v1.cni.cncf.io/networks' of pod team/web"


def parsed(text: str) -> tuple[Element, ...]:
    return parse(text, "team", ORIGIN, "source-nad")


def one(**keys: Any) -> str:
    return json.dumps([{"name": "a", **keys}])


GOOD = [
    ("a", [("team", "a", "")]),
    ("a,b", [("team", "a", ""), ("team", "b", "")]),
    ("a, b", [("team", "a", ""), ("team", "b", "")]),
    ("  a  ", [("team", "a", "")]),
    ("a\n", [("team", "a", "")]),
    (" other / a @ net7 ", [("other", "a", "net7")]),
    ("/a", [("team", "a", "")]),
    ("a@", [("team", "a", "")]),
    ("other/a@", [("other", "a", "")]),
    ("a,a", [("team", "a", ""), ("team", "a", "")]),
    ("other/a", [("other", "a", "")]),
    ("a@net7", [("team", "a", "net7")]),
    ("other/a@ib0", [("other", "a", "ib0")]),
    (
        "net-a,net-b,other-ns/net-c",
        [("team", "net-a", ""), ("team", "net-b", ""), ("other-ns", "net-c", "")],
    ),
    ("a.b.c", [("team", "a.b.c", "")]),
    ("0", [("team", "0", "")]),
    ("a" * 253, [("team", "a" * 253, "")]),
    ("a@123456789012345", [("team", "a", "123456789012345")]),
    ("[]", []),
    ('[{"name":"a"}]', [("team", "a", "")]),
    (' \n [{"name":"a"}]', [("team", "a", "")]),
    ('[{"name":"a","namespace":""}]', [("team", "a", "")]),
    ('[{"name":"a","namespace":"other"}]', [("other", "a", "")]),
    ('[{"name":"a","interface":"net7"}]', [("team", "a", "net7")]),
    ('[{"name":"a","interfaceRequest":"net7"}]', [("team", "a", "net7")]),
    ('[{"name":"a","org.example.note":1}]', [("team", "a", "")]),
    ('[{"name":"a","ips":null}]', [("team", "a", "")]),
    ('[{"name":"a"},{"name":"b"}]', [("team", "a", ""), ("team", "b", "")]),
    ('[{"Name":"a","NAMESPACE":"other","interFace":"net7"}]', [("other", "a", "net7")]),
    ('[{"name":"b","NAME":"a","Name":null}]', [("team", "a", "")]),
]


@pytest.mark.parametrize(("text", "expected"), GOOD, ids=[repr(text)[:40] for text, _ in GOOD])
def test_good_forms_are_understood(text: str, expected: list[tuple[str, str, str]]) -> None:
    found = [(each.namespace, each.name, each.interface) for each in parsed(text)]
    assert found == expected


KEYS = [
    ({"ips": ["10.0.0.2"]}, {"ips": ["10.0.0.2"]}),
    ({"ips": ["10.2.2.42/24", "2001:db8::5/64"]}, {"ips": ["10.2.2.42/24", "2001:db8::5/64"]}),
    ({"mac": "02:23:45:67:89:01"}, {"mac": "02:23:45:67:89:01"}),
    ({"mac": "AA:BB:CC:DD:EE:FF"}, {"mac": "AA:BB:CC:DD:EE:FF"}),
    ({"mac": "02-23-45-67-89-01"}, {"mac": "02-23-45-67-89-01"}),
    ({"mac": "0223.4567.8901"}, {"mac": "0223.4567.8901"}),
    ({"mac": "02:00:00:00:00:00:00:01"}, {"mac": "02:00:00:00:00:00:00:01"}),
    (
        {"infiniband-guid": "24:8a:07:03:00:8d:ae:2f"},
        {"infinibandGUID": "24:8a:07:03:00:8d:ae:2f"},
    ),
    (
        {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}]},
        {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
    ),
    (
        {"portMappings": [{"hostPort": 1, "containerPort": 65535}]},
        {"portMappings": [{"hostPort": 1, "containerPort": 65535, "protocol": "tcp"}]},
    ),
    (
        {"bandwidth": {"ingressRate": 2048, "ingressBurst": 300}},
        {"bandwidth": {"ingressRate": 2048, "ingressBurst": 300}},
    ),
    (
        {"portMappings": [{"hostPort": 1, "containerPort": 1, "protocol": ""}]},
        {"portMappings": [{"hostPort": 1, "containerPort": 1, "protocol": "tcp"}]},
    ),
    ({"bandwidth": {"ingressRate": 0}}, {"bandwidth": {"ingressRate": 0}}),
    ({"cni-args": {"spoofchk": "on"}}, {}),
    ({"default-route": ["10.0.0.1"]}, {}),
    ({"default-route": []}, {}),
    ({"ipam-claim-reference": "vm123.tenantblue"}, {}),
    ({"ipam-claim-reference": "vm123.tenantblue", "ips": ["10.0.0.2"]}, {"ips": ["10.0.0.2"]}),
]


@pytest.mark.parametrize(("keys", "asked"), KEYS, ids=[json.dumps(keys)[:50] for keys, _ in KEYS])
def test_keys_become_runtime_config(keys: dict[str, Any], asked: dict[str, Any]) -> None:
    (element,) = parsed(one(**keys))
    assert element.options == {"name": "a", **keys}
    assert element.remarks == ()
    assert runtime_config(element.options) == asked


REMARKS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"gateway": ["10.0.0.1"]},
        {},
        "has the unknown key 'gateway', which is ignored: use bandwidth",
    ),
    ({"MAC": "02:23:45:67:89:01"}, {"mac": "02:23:45:67:89:01"}, "'MAC' is read as 'mac'"),
    ({"mac": ""}, {}, "'mac' is empty: it requests nothing: remove the key"),
    ({"ips": []}, {}, "'ips' is empty"),
    ({"portMappings": []}, {}, "'portMappings' is empty"),
    ({"infiniband-guid": ""}, {}, "'infiniband-guid' is empty"),
    ({"bandwidth": {}}, {}, "'bandwidth' is empty"),
    (
        {"bandwidth": {"rate": 1}},
        {"bandwidth": {"rate": 1}},
        "'bandwidth' has the unknown key 'rate', which is ignored: use egressBurst",
    ),
    (
        {"bandwidth": {"IngressRate": -1}},
        {"bandwidth": {"ingressRate": -1}},
        "'bandwidth.ingressRate' is -1: write a number above 0",
    ),
    (
        {"bandwidth": {"egressBurst": 1}},
        {"bandwidth": {"egressBurst": 1}},
        "'bandwidth.egressBurst' needs 'egressRate': add it",
    ),
    (
        {"portMappings": [{"hostPort": 80}]},
        {"portMappings": [{"hostPort": 80, "protocol": "tcp"}]},
        "containerPort' is None: write a port from 1 to 65535",
    ),
    (
        {"portMappings": [{"HostPort": 0, "containerPort": 1}]},
        {"portMappings": [{"hostPort": 0, "containerPort": 1, "protocol": "tcp"}]},
        "[0].hostPort' is 0: write a port",
    ),
    (
        {"portMappings": [{"hostPort": 1, "containerPort": 1, "protocol": "icmp"}]},
        {"portMappings": [{"hostPort": 1, "containerPort": 1, "protocol": "icmp"}]},
        "'portMappings[0].protocol' is 'icmp': write tcp, udp or sctp",
    ),
    (
        {"portMappings": [{"hostPort": 1, "containerPort": 1, "hostIP": "x"}]},
        {"portMappings": [{"hostPort": 1, "containerPort": 1, "hostIP": "x", "protocol": "tcp"}]},
        "'portMappings[0].hostIP' is 'x': write an address of the node",
    ),
]


@pytest.mark.parametrize(
    ("keys", "asked", "said"), REMARKS, ids=[json.dumps(keys)[:50] for keys, *_ in REMARKS]
)
def test_what_go_takes_is_taken_and_remarked(
    keys: dict[str, Any], asked: dict[str, Any], said: str
) -> None:
    (element,) = parsed(one(**keys))
    assert runtime_config(element.options) == asked
    where = "metadata.annotations.x[0]."
    (element,) = parse(one(**keys), "team", annotation_of("x", "team/web"), "source-nad")
    assert all(each.path[:4] == ("metadata", "annotations", "x", 0) for each in element.remarks)
    assert said in "\n".join(str(each).replace(where, "") for each in element.remarks)


BAD = [
    ("a,", "entry 2 is empty: name a network, or remove the comma"),
    (",a", "entry 1 is empty"),
    ("a,,b", "entry 2 is empty"),
    ("a b", "entry 1: 'name' is 'a b', which cannot be the name of an object"),
    ("A", "'A', which cannot be the name of an object: use lower-case letters"),
    ("a_b", "'a_b', which cannot be the name of an object"),
    ("-a", "'-a', which cannot be the name of an object"),
    ("a-", "'a-', which cannot be the name of an object"),
    ("a..b", "'a..b', which cannot be the name of an object"),
    ("a" * 254, "cannot be the name of an object"),
    ("ns/", "entry 1 has no 'name': name the network"),
    ("x/y/z", "'x/y/z' is not <namespace>/<name>@<interface>"),
    ("NS/a", "'NS', which cannot be the name of a namespace"),
    ("a.b/c", "'a.b', which cannot be the name of a namespace"),
    ("@net1", "entry 1 is empty"),
    ("a@b@c/d", "'interface' is 'b@c/d': the name holds '/'"),
    (
        "a@1234567890123456",
        "'1234567890123456': the name is longer than 15 characters",
    ),
    ("a@..", "'interface' is '..': the name is '.' or '..'"),
    ("a@e:1", "'interface' is 'e:1': the name holds '/', ':'"),
    ("a@x%d", "'interface' is 'x%d': the name holds '%'"),
    ("../../secrets", "'../../secrets' is not <namespace>/<name>@<interface>"),
    ("a;rm", "'a;rm', which cannot be the name of an object"),
    ("ä", "'ä', which cannot be the name of an object"),
    ('{"name":"a"}', 'must be a list, not an object: write [{"name": "a-network"}]'),
    ('"a"', "must be a list, not a string"),
    ('[{"name":"a"}', "it ends too early"),
    ("[{'name':'a'}]", "is not JSON: line 1 column 3"),
    ('[{"name":"a"},]', "is not JSON"),
    ('["a"]', "entry 1 must be an object, not a string"),
    ("[null]", "entry 1 must be an object, not null"),
    ("[{}]", "entry 1 has no 'name'"),
    ('[{"name":""}]', "entry 1 has no 'name'"),
    ('[{"name":7}]', "'name' must be a string, not a whole number"),
    ('[{"name":"a","namespace":1}]', "'namespace' must be a string"),
    ('[{"name":"a"},{"namespace":"b"}]', "entry 2 has no 'name'"),
    (one(interface="a b"), "'interface' is 'a b': the name holds '/', ':', a space"),
    (one(interface="x%d"), "'interface' is 'x%d': the name holds '%'"),
    (one(interfaceRequest="x%d"), "'interfaceRequest' is 'x%d': the name holds '%'"),
    (one(interface=7), "'interface' must be a string"),
    (one(ips="10.0.0.1"), "'ips' must be a list, not a string"),
    (one(ips=[1]), "'ips[0]' must be a string"),
    (one(ips=["10.0.0"]), "'ips' holds '10.0.0': write addresses such as"),
    (one(ips=["10.0.0.1/33"]), "'ips' holds '10.0.0.1/33'"),
    (one(ips=["10.0.0.1/"]), "'ips' holds '10.0.0.1/'"),
    (one(ips=["fd00::1/129"]), "'ips' holds 'fd00::1/129'"),
    (one(ips=["10.0.0.1/-1"]), "'ips' holds '10.0.0.1/-1'"),
    (one(mac="02:00"), "'mac' is '02:00': write six bytes"),
    (one(mac="02:00:00:00:00:0g"), "write six bytes, 02:00:00:00:00:01"),
    (one(mac="02:00-00:00:00:01"), "'mac' is '02:00-00:00:00:01': write six bytes"),
    (one(mac="02:00:00:00:00:00:01"), "write six bytes"),
    (one(mac=2), "'mac' must be a string"),
    (one(**{"infiniband-guid": "24:8a"}), "'infiniband-guid' is '24:8a': write eight bytes"),
    (one(**{"cni-args": "x=y"}), "'cni-args' must be an object, not a string"),
    (one(portMappings={}), "'portMappings' must be a list"),
    (one(portMappings=[80]), "'portMappings[0]' must be an object"),
    (
        one(portMappings=[{"hostPort": "80", "containerPort": 1}]),
        "'portMappings[0].hostPort' must be a whole number",
    ),
    (one(bandwidth={"ingressRate": "1"}), "'bandwidth.ingressRate' must be a whole number"),
    (one(**{"default-route": "10.0.0.1"}), "'default-route' must be a list"),
    (one(**{"default-route": ["x"]}), "'default-route' holds 'x': write a gateway's address"),
    (one(**{"default-route": ["10.0.0.1/24"]}), "'default-route' holds '10.0.0.1/24'"),
    (one(**{"ipam-claim-reference": 1}), "'ipam-claim-reference' must be a string"),
    (one(deviceID="\ud800"), r"'deviceID' is '\ud800', which is no text: write the device's ID"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text[:40] for text, _ in BAD])
def test_bad_forms_are_refused_with_where_what_and_fix(text: str, message: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parsed(text)
    assert caught.value.number == 7
    assert caught.value.msg.startswith(ORIGIN)
    assert message in caught.value.msg


def test_the_tables_are_large_enough_to_mean_something() -> None:
    assert len(GOOD) + len(KEYS) + len(BAD) >= 60


LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
INTERFACE = st.from_regex(r"[a-z][a-z0-9_.\-]{0,14}", fullmatch=True)


@st.composite
def elements(draw: st.DrawFn) -> dict[str, str]:
    entry = {"name": draw(LABEL)}
    if draw(st.booleans()):
        entry["namespace"] = draw(LABEL)
    if draw(st.booleans()):
        entry["interface"] = draw(INTERFACE)
    return entry


def short(entry: dict[str, str]) -> str:
    namespace = f"{entry['namespace']}/" if "namespace" in entry else ""
    interface = f"@{entry['interface']}" if "interface" in entry else ""
    return f"{namespace}{entry['name']}{interface}"


@given(st.lists(elements(), min_size=1, max_size=8))
def test_both_forms_say_the_same(entries: list[dict[str, str]]) -> None:
    def bare(found: tuple[Element, ...]) -> list[tuple[str, str, str, str]]:
        return [(e.namespace, e.name, e.interface, e.origin) for e in found]

    assert bare(parsed(",".join(map(short, entries)))) == bare(parsed(json.dumps(entries)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "ips", "mac", "interface", "cni-args", "portMappings"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.one_of(st.text(max_size=60), JSON.map(json.dumps), st.lists(JSON).map(json.dumps)))
def test_anything_is_either_understood_or_refused(text: str) -> None:
    if not text.strip():
        return
    try:
        found = parsed(text)
    except InvalidConfig as error:
        assert error.msg.startswith(ORIGIN)
    else:
        for element in found:
            assert "/" not in element.name
            assert ".." not in element.name
            assert element.namespace
