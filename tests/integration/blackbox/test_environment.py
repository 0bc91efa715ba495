"""What the program makes of its environment (CNI 1.1, section 2, "Parameters")."""

from __future__ import annotations

import os
import re

import pytest

from integration.blackbox.program import Multus, refused
from multus.testing.runtime import Container

CONTAINER = {"CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/none", "CNI_IFNAME": "eth0"}
REQUIRED = {
    "ADD": {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"},
    "CHECK": {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"},
    "DEL": {"CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"},
    "GC": {"CNI_PATH"},
    "STATUS": {"CNI_PATH"},
}
EACH = [(command, name) for command, names in REQUIRED.items() for name in sorted(names)]


def missing(message: str) -> set[str]:
    found = re.search(r"required env variables \[([A-Z_, ]+)\] missing", message)
    assert found, message
    return set(re.split(r"[ ,]+", found[1]))


@pytest.mark.parametrize(("command", "name"), EACH)
@pytest.mark.parametrize("value", [None, ""], ids=["absent", "empty"])
def test_a_missing_variable_is_named(
    multus: Multus, command: str, name: str, value: str | None
) -> None:
    answer = multus.runtime.call(command, multus.conf(), {**CONTAINER, name: value})
    assert missing(refused(answer, 4)["msg"]) == {name}


@pytest.mark.parametrize("command", REQUIRED)
def test_all_missing_variables_are_named_at_once(multus: Multus, command: str) -> None:
    answer = multus.runtime.call(command, multus.conf(), {"CNI_PATH": None})
    assert missing(refused(answer, 4)["msg"]) == REQUIRED[command]


def test_version_needs_the_command_only(multus: Multus) -> None:
    answer = multus.runtime.call("VERSION", b'{"cniVersion": "1.0.0"}', {"CNI_PATH": None})
    assert answer.result["supportedVersions"][0] == "0.1.0"


def test_missing_variables_come_before_bad_json(multus: Multus) -> None:
    refused(multus.runtime.call("ADD", b"{", {}), 4)


def test_bad_json_comes_before_a_missing_name(multus: Multus) -> None:
    refused(multus.runtime.call("ADD", b'{"type": "multus"', CONTAINER), 6)
    refused(multus.runtime.call("ADD", b'{"type": "multus"}', CONTAINER), 7, "name")


@pytest.mark.parametrize("command", ["add", "UPDATE", "VERSION ", "ADD\n", "*"])
def test_an_unknown_command_is_refused(multus: Multus, command: str) -> None:
    refused(multus.runtime.call(command, multus.conf(), CONTAINER), 4, "CNI_COMMAND")


BAD_IDS = ["../x", "a/b", "-a", ".a", "a b", "a\n", "a\u00e9", "_a", "a;b"]


@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL"])
@pytest.mark.parametrize("container_id", BAD_IDS)
def test_a_bad_container_id_is_refused(multus: Multus, command: str, container_id: str) -> None:
    variables = {**CONTAINER, "CNI_CONTAINERID": container_id}
    answer = multus.runtime.call(command, multus.conf(), variables)
    refused(answer, 4, "CNI_CONTAINERID")
    assert multus.records() == []


@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL"])
@pytest.mark.parametrize("ifname", ["a" * 16, ".", "..", "a/b", "a:b", "a b", "a\t", "\u00e9" * 8])
def test_a_bad_interface_name_is_refused(multus: Multus, command: str, ifname: str) -> None:
    variables = {**CONTAINER, "CNI_IFNAME": ifname}
    refused(multus.runtime.call(command, multus.conf(), variables), 4, "CNI_IFNAME")


def test_the_longest_interface_name_is_accepted(multus: Multus, cni_container: Container) -> None:
    multus.bin.stand_in("fake")
    container = Container(cni_container.netns, ifname="a" * 15)
    result = multus.add(multus.conf({"type": "fake"}), container).result
    assert result["interfaces"][0]["name"] == "a" * 15


def test_a_namespace_that_is_not_there_attaches_nothing(multus: Multus) -> None:
    multus.bin.real("ptp", "host-local")
    ipam = {"type": "host-local", "subnet": "10.5.0.0/24", "dataDir": multus.ipam_dir}
    before = multus.node.state(multus.ipam_dir)
    answer = multus.add(multus.conf({"type": "ptp", "ipam": ipam}), Container("/run/netns/none"))
    assert answer.status == 1 and answer.error["code"]
    assert before.difference(multus.node.state(multus.ipam_dir)) == []
    assert multus.records() == []


class TestWithoutACommand:
    """Not started by a runtime: a command line."""

    def test_it_says_how_to_use_it(self, multus: Multus) -> None:
        answer = multus.runtime.start({"PATH": os.environ["PATH"]}, b"", "--help")
        assert answer.status == 0 and b"plugins" in answer.stdout + answer.stderr

    def test_an_unknown_subcommand_is_a_usage_error(self, multus: Multus) -> None:
        answer = multus.runtime.start({"PATH": os.environ["PATH"]}, b"", "no-such-command")
        assert answer.status == 2
        assert answer.stdout == b"" and b"no-such-command" in answer.stderr
