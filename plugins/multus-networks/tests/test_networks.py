"""The first documentation's annotation and Network objects, valid and invalid."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multus_networks import parse

from multus.api.errors import InvalidConfig
from multus.api.kubernetes.networks import SEED, SPRING, Dialect, config_of
from multus.api.network import Element

ORIGIN = "annotation 'networks' of pod team/web"
WHERE = "network team/a (kubernetes-network.cni.cncf.io)"


def parsed(text: str, dialect: Dialect = SEED) -> tuple[Element, ...]:
    return parse(text, "team", ORIGIN, "source-crd", dialect)


GOOD = [
    (SEED, '[{"name":"a"}]', [("team", "a", "")]),
    (
        SEED,
        '[\n{ "name": "flannel-conf" },\n{ "name": "sriov-conf"}\n]',
        [("team", "flannel-conf", ""), ("team", "sriov-conf", "")],
    ),
    (SEED, '[{"name":"a","namespace":"other"}]', [("other", "a", "")]),
    (SEED, '[{"name":"a","interface":"north"}]', [("team", "a", "north")]),
    (SPRING, '[{"name":"a"}]', [("team", "a", "")]),
    (SPRING, '[{"name":"a","interfaceRequest":"x"}]', [("team", "a", "x")]),
    (SPRING, "a,other/b@eth7", [("team", "a", ""), ("other", "b", "eth7")]),
]


@pytest.mark.parametrize(("dialect", "text", "expected"), GOOD, ids=[t for _, t, _ in GOOD])
def test_good_annotations_are_understood(
    dialect: Dialect, text: str, expected: list[tuple[str, str, str]]
) -> None:
    found = [(e.namespace, e.name, e.interface) for e in parsed(text, dialect)]
    assert found == expected


BAD = [
    (SEED, "a,b", 'is not JSON: line 1 column 1: Expecting value: write [{"name": "a-network"}]'),
    (SEED, "[]", "is an empty list: name a network, or remove the annotation"),
    (SEED, "{}", "must be a list, not an object"),
    (SEED, '["a"]', "entry 1 must be an object, not a string"),
    (SEED, '[{"name":"a"},{"nam":"b"}]', "entry 2 has no 'name'"),
    (SEED, '[{"name":"a","ips":["10.0.0.1"]}]', "key 'ips' is not one that Network objects"),
    (SEED, '[{"name":"../a"}]', "'name' is '../a', which cannot be the name of an object"),
    (SEED, '[{"name":"a","interface":"a/b"}]', "'interface' is 'a/b': the name holds '/'"),
    (SPRING, "a,", "entry 2 is empty"),
    (SPRING, "a/b/c", "is not <namespace>/<name>@<interface>"),
]


@pytest.mark.parametrize(("dialect", "text", "message"), BAD, ids=[t for _, t, _ in BAD])
def test_bad_annotations_are_refused_with_the_fix(
    dialect: Dialect, text: str, message: str
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parsed(text, dialect)
    assert caught.value.msg.startswith(ORIGIN)
    assert message in caught.value.msg


@given(
    st.text(max_size=60) | st.recursive(st.none() | st.text(max_size=5), st.lists).map(json.dumps)
)
def test_anything_is_either_understood_or_refused(text: str) -> None:
    for dialect in (SEED, SPRING):
        try:
            parsed(text, dialect)
        except InvalidConfig as error:
            assert error.msg.startswith(ORIGIN)


CONFIGS = [
    (
        {"plugin": "flannel", "args": '[ { "delegate": { "isDefaultGateway": true } } ]'},
        {"type": "flannel", "delegate": {"isDefaultGateway": True}},
    ),
    (
        {"plugin": "sriov", "args": '[{"if0": "enp2s0", "vlan": 210}]'},
        {"type": "sriov", "if0": "enp2s0", "vlan": 210},
    ),
    ({"plugin": "loopback"}, {"type": "loopback"}),
    ({"plugin": "loopback", "args": ""}, {"type": "loopback"}),
    ({"plugin": "bridge", "args": '[{"type": "bridge"}]'}, {"type": "bridge"}),
    ({"spec": {"plugin": "bridge", "args": "[{}]"}}, {"type": "bridge"}),
    ({"spec": {"config": '{"type": "ptp", "name": "x"}'}}, {"type": "ptp", "name": "x"}),
]


@pytest.mark.parametrize(("wire", "config"), CONFIGS, ids=[str(c) for _, c in CONFIGS])
def test_a_network_object_becomes_its_plugins_configuration(
    wire: dict[str, Any], config: dict[str, Any]
) -> None:
    assert config_of(wire, WHERE) == config


WRONG = [
    ({}, "has no 'plugin': write the name of the CNI plugin"),
    ({"plugin": 7}, "'plugin' must be a string"),
    ({"plugin": "a", "args": {}}, "'args' must be a string, not an object"),
    ({"plugin": "a", "args": "{}"}, "'args' holds an object: write '[{…}]', a list of one object"),
    ({"plugin": "a", "args": "[]"}, "'args' holds a list of 0: write '[{…}]'"),
    ({"plugin": "a", "args": "[{},{}]"}, "'args' holds a list of 2: write '[{…}]'"),
    ({"plugin": "a", "args": '["x"]'}, "'args' holds a list of a string"),
    ({"plugin": "a", "args": "[{]"}, "'args' is not JSON: line 1 column 3"),
    ({"plugin": "a", "args": '[{"type": "b"}]'}, "'plugin' is 'a', and 'type' in 'args' is 'b'"),
    ({"spec": {"config": "{"}}, "'spec.config' is not JSON"),
    ({"spec": {"config": "[]"}}, "'spec.config' is not a JSON object"),
]


@pytest.mark.parametrize(("wire", "message"), WRONG, ids=[m[:50] for _, m in WRONG])
def test_a_wrong_network_object_is_named_with_the_fix(wire: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        config_of(wire, WHERE)
    assert caught.value.msg.startswith(WHERE)
    assert message in caught.value.msg
