from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from unit.values import delegate_of

from multus.api.network import Element, Plugin
from multus.api.result import IP, Result
from multus.testing.invocation import Caller

RESULT = Result(ips=(IP("10.0.0.2/8"),))


def test_a_delegate_is_called_by_its_label_or_its_name() -> None:
    assert str(delegate_of("net")) == "network 'net'"
    assert str(delegate_of("net", label="shop/net")) == "network 'shop/net'"
    assert delegate_of("net", "bridge", "tuning").types == "bridge+tuning"


def test_an_element_is_called_with_its_namespace() -> None:
    assert str(Element("net", "a test")) == "net"
    assert str(Element("net", "a test", namespace="shop")) == "shop/net"


def test_keys_of_the_engine_are_not_unknown_to_a_plugin() -> None:
    config = {"type": "tap", "name": "n", "masterplugin": True, "owner": 1, "x": 1, "b": 2}
    assert Plugin(config).unknown_keys(frozenset({"owner"})) == ("b", "x")


class TestInvocation:
    def test_the_environment_is_the_callers_with_this_plugins_values(self) -> None:
        caller = Caller(ifname="net1", netns="/run/netns/pod", args="A=1", path=("/one", "/two"))
        invocation = caller.invocation("ADD", {"type": "tap"})
        request = evolve(invocation.request, environ={"TRACEPARENT": "00-1", "CNI_IFNAME": "eth0"})
        environ = evolve(invocation, request=request).environ()
        assert environ == {
            "TRACEPARENT": "00-1",
            "MULTUS_WITHIN": "c1",
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": "c1",
            "CNI_NETNS": "/run/netns/pod",
            "CNI_IFNAME": "net1",
            "CNI_PATH": "/opt/cni/bin:/one:/two",
        }

    @pytest.mark.parametrize(
        ("runtimes", "text"),
        [
            (None, "MAC=02:00:00:00:00:01"),
            ("", "MAC=02:00:00:00:00:01"),
            ("A=1;MAC=x", "A=1;MAC=x;MAC=02:00:00:00:00:01"),
            ("A=1;", "A=1;MAC=02:00:00:00:00:01"),
        ],
    )
    def test_a_networks_arguments_follow_the_runtimes(
        self, runtimes: str | None, text: str
    ) -> None:
        invocation = Caller(args=runtimes or "").invocation("ADD", {"type": "tap"})
        environ = {} if runtimes is None else {"CNI_ARGS": runtimes}
        invocation = evolve(
            invocation,
            request=evolve(invocation.request, environ=environ),
            delegate=evolve(invocation.delegate, args={"MAC": "02:00:00:00:00:01"}),
        )
        assert invocation.environ()["CNI_ARGS"] == text
        assert invocation.args["MAC"] == "02:00:00:00:00:01"
        assert invocation.args.get("A") == ("1" if "A=" in text else None)

    @pytest.mark.parametrize(
        ("ips", "runtime_config", "given"),
        [
            ("10.0.0.1", {"ips": ["10.0.0.1"]}, True),
            ("10.0.0.1,10.0.0.2", {"mac": "x"}, True),
            ("10.0.0.1,10.0.0.2", {"ips": ["10.0.0.1", "10.0.0.2"]}, False),
        ],
    )
    def test_several_addresses_are_no_argument_of_a_plugin_that_declares_ips(
        self, ips: str, runtime_config: dict[str, Any], given: bool
    ) -> None:
        config = {"type": "tap", "runtimeConfig": runtime_config}
        invocation = Caller().invocation("ADD", config)
        own = {"MAC": "x", "IP": ips}
        invocation = evolve(invocation, delegate=evolve(invocation.delegate, args=own))
        assert invocation.args == (own if given else {"MAC": "x"})
        assert (f";IP={ips}" in invocation.environ()["CNI_ARGS"]) is given

    def test_a_folder_is_searched_once(self) -> None:
        caller = Caller(path=("/one", "/opt/cni/bin", "/one"))
        assert caller.invocation("ADD", {"type": "tap"}).folders() == ("/opt/cni/bin", "/one")

    @pytest.mark.parametrize(
        ("verb", "version", "told"),
        [
            ("ADD", "0.3.0", True),
            ("ADD", "1.1.0", True),
            ("DEL", "0.3.1", False),
            ("DEL", "0.4.0", True),
            ("CHECK", "0.4.0", True),
        ],
    )
    def test_a_result_is_passed_in_versions_that_support_it(
        self, verb: str, version: str, told: bool
    ) -> None:
        invocation = Caller().invocation(verb, {"type": "tap", "cniVersion": version}, RESULT)
        wire = invocation.wire()
        assert ("prevResult" in wire) is told
        if told:
            assert wire["prevResult"] == RESULT.to_wire(version)

    def test_gc_gets_the_list_under_both_names(self) -> None:
        wire = Caller().invocation("GC", {"type": "tap"}, valid=[Caller("c2")]).wire()
        entries: list[Any] = [{"containerID": "c2", "ifname": "eth0"}]
        assert wire["cni.dev/valid-attachments"] == wire["cni.dev/attachments"] == entries

    def test_spoken_in_another_version_only_the_version_differs(self) -> None:
        invocation = Caller().invocation("ADD", {"type": "tap", "x": 1})
        older = invocation.at("0.3.1")
        assert older.config == {**invocation.config, "cniVersion": "0.3.1"}
        assert older.cni_version == "0.3.1"
