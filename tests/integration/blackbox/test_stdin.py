"""What the program makes of the configuration on its standard input."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.blackbox.program import Multus, refused
from multus.testing.runtime import Container

NETNS = "/run/netns/none"
NEST = 100_000
UNREADABLE = {
    "empty": b"",
    "blank": b" \n\t",
    "truncated": b'{"cniVersion": "1.0.0", "name": "n", "type": "mul',
    "two texts": b'{"name": "n"}{"name": "n"}',
    "a list": b'[{"name": "n"}]',
    "a string": b'"n"',
    "a number": b"7",
    "null": b"null",
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "a byte order mark": b'\xef\xbb\xbf{"name": "n"}',
    "NaN": b'{"name": "n", "x": NaN}',
    "an infinite number": b'{"name": "n", "x": 1e999}',
    "single quotes": b"{'name': 'n'}",
    "trailing comma": b'{"name": "n",}',
    "an unquoted backslash": b'{"name": "n", "kubeconfig": "C:\\k"}',
    "nested lists": b'{"name": "n", "x": ' + b"[" * NEST + b"]" * NEST + b"}",
    "nested objects": b'{"name": "n", "x": ' + b'{"a":' * NEST + b"1" + b"}" * NEST + b"}",
    "a megabyte of open brackets": b"[" * 1_000_000,
    "an endless string": b'"' + b"x" * 1_000_000,
    "zero bytes": b"\0" * 100,
}


@pytest.mark.parametrize("stdin", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_what_is_no_json_object_cannot_be_decoded(
    multus: Multus, command: str, stdin: bytes
) -> None:
    error = refused(multus.runtime.call(command, stdin, Container(NETNS).environ()), 6)
    assert len(error["msg"]) < 1000
    assert multus.records() == []


def test_an_error_names_the_line(multus: Multus) -> None:
    stdin = b'{\n  "name": "n",\n  "type": multus\n}'
    refused(multus.add(stdin, Container(NETNS)), 6, "line 3")


def test_a_comment_line_is_named_with_its_fix(multus: Multus) -> None:
    stdin = b'{"name": "n", "type": "multus", "delegates": [{\n#part of sriov plugin conf\n}]}'
    refused(multus.add(stdin, Container(NETNS)), 6, "line 2", "#part of sriov plugin conf")


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "STATUS", "GC"])
@pytest.mark.parametrize("name", [None, "", "-n", "a/b", "a b", "../n", "\u00e9"])
def test_a_bad_network_name_is_refused_by_every_command(
    multus: Multus, command: str, name: str | None
) -> None:
    conf = multus.conf({"type": "fake"}, name=name, cniVersion="1.1.0")
    refused(multus.runtime.call(command, conf, Container(NETNS).environ()), 7, "name")


def test_version_does_not_care_for_the_name(multus: Multus) -> None:
    assert multus.runtime.version(b'{"cniVersion": "0.4.0", "name": "-"}').status == 0


WRONG: list[tuple[str, Any]] = [
    ("name", 5),
    ("name", []),
    ("name", {}),
    ("cniVersion", 1),
    ("cniVersion", ["1.0.0"]),
    ("cniVersions", "1.0.0"),
    ("cniVersions", [1]),
    ("delegates", {}),
    ("delegates", "bridge"),
    ("delegates", 5),
    ("delegates", [5]),
    ("delegates", [[]]),
    ("delegates", ["bridge"]),
    ("delegates", [{}]),
    ("delegates", [{"type": 5}]),
    ("delegates", [{"type": ""}]),
    ("delegates", [{"type": ["fake"]}]),
    ("delegates", [{"type": "fake", "masterplugin": 1}]),
    ("delegates", [{"type": "fake", "masterplugin": "yes"}]),
    ("delegates", [{"type": "fake", "masterplugin": []}]),
    ("delegates", [{"type": "fake", "name": 5}]),
    ("delegates", [{"type": "fake", "name": "a/b"}]),
    ("delegates", [{"type": "fake", "cniVersion": 5}]),
    ("delegates", [{"type": "fake", "capabilities": []}]),
    ("delegates", [{"name": "n", "plugins": {}}]),
    ("delegates", [{"name": "n", "plugins": []}]),
    ("delegates", [{"name": "n", "plugins": [5]}]),
    ("delegates", [{"name": "n", "plugins": [{}]}]),
    ("delegates", [{"name": "n", "plugins": [{"type": "fake"}, {"type": 7}]}]),
    ("delegates", [{"type": "fake", "masterplugin": True}] * 2),
    ("kubeconfig", 5),
    ("always_use_default", "maybe"),
    ("always_use_default", 1),
    ("always_use_default", []),
    ("binDir", 5),
    ("binDir", "a\0b"),
    ("cniDir", []),
    ("cniDir", "relative"),
    ("confDir", 5),
    ("confDir", "a\0b"),
    ("clusterNetwork", 5),
    ("clusterNetwork", []),
    ("defaultNetworks", "n"),
    ("defaultNetworks", [5]),
    ("readinessindicatorfile", 5),
    ("runtimeConfig", []),
    ("runtimeConfig", "x"),
    ("prevResult", "x"),
    ("prevResult", []),
    ("merger", 5),
    ("naming", "mine"),
    ("naming", 5),
    ("logLevel", 5),
    ("logFile", 5),
    ("logFile", "a\0b"),
    ("logToStderr", "perhaps"),
    ("logOptions", []),
    ("logOptions", {"maxSize": "big"}),
    ("delegateTimeout", "soon"),
    ("delegateTimeout", 0),
    ("delegateTimeout", -1),
]


@pytest.mark.parametrize(
    ("key", "value"), WRONG, ids=[f"{key}={json.dumps(value)[:60]}" for key, value in WRONG]
)
def test_a_wrong_type_is_refused_and_the_key_named(multus: Multus, key: str, value: Any) -> None:
    multus.bin.stand_in("fake")
    # Where the key is one that needs another, the other is right.
    conf = multus.conf({"type": "fake"}, **{key: value})
    refused(multus.add(conf, Container(NETNS)), 7, _named_in_message(key, value))
    assert multus.bin.commands() == []
    assert multus.records() == []


def _named_in_message(key: str, value: Any) -> str:
    """The innermost key that is wrong."""
    if key == "logOptions" and isinstance(value, dict):
        return "maxSize"
    if key != "delegates" or not isinstance(value, list) or not isinstance(value[0], dict):
        return "name" if key == "name" else key
    first = value[0]
    plugins = first.get("plugins")
    if plugins is not None:
        return "type" if plugins and isinstance(plugins[0], dict) else "plugins"
    suspects = ("masterplugin", "name", "cniVersion", "capabilities")
    return next((each for each in suspects if each in first), "type")


class TestTheSeedsOwnWords:
    """Messages that users of the first Multus know."""

    def test_neither_delegates_nor_kubeconfig(self, multus: Multus) -> None:
        conf = multus.conf(delegates=None)
        refused(
            multus.add(conf, Container(NETNS)),
            7,
            "delegates or kubeconfig option is must, refer README.md",
        )

    def test_a_delegate_without_type(self, multus: Multus) -> None:
        conf = multus.conf({"bridge": "x"})
        refused(multus.add(conf, Container(NETNS)), 7, "delegate must have the field 'type'")

    def test_a_type_that_is_no_string(self, multus: Multus) -> None:
        conf = multus.conf({"type": 1})
        refused(multus.add(conf, Container(NETNS)), 7, "delegate field 'type' must be a string")

    def test_a_masterplugin_that_is_no_bool(self, multus: Multus) -> None:
        conf = multus.conf({"type": "fake", "masterplugin": "x"})
        words = "delegate field 'masterplugin' must be a bool"
        refused(multus.add(conf, Container(NETNS)), 7, words)

    def test_two_masterplugins(self, multus: Multus) -> None:
        conf = multus.conf(*[{"type": "fake", "masterplugin": True}] * 2)
        refused(multus.add(conf, Container(NETNS)), 7, "only one delegate can have 'masterplugin'")

    def test_always_use_default_alone(self, multus: Multus) -> None:
        conf = multus.conf({"type": "fake"}, always_use_default=True)
        refused(
            multus.add(conf, Container(NETNS)),
            7,
            "If you have set always_use_default, you must also set the delegates & the kubeconfig,"
            " refer to the README",
        )


@pytest.mark.parametrize("kind", ["../fake", "/bin/sh", "a/b", "..", ".", "fake\0"])
def test_a_type_is_never_a_path(multus: Multus, kind: str) -> None:
    multus.bin.stand_in("fake")
    refused(multus.add(multus.conf({"type": kind}), Container(NETNS)), 7, "type")
    assert multus.bin.commands() == []
    assert multus.records() == []


@pytest.mark.parametrize("value", [True, "true", "True"])
def test_booleans_may_be_strings(multus: Multus, cni_container: Container, value: Any) -> None:
    multus.bin.stand_in("first").stand_in("second")
    conf = multus.conf({"type": "first"}, {"type": "second", "masterplugin": value})
    multus.add(conf, cni_container).require()
    assert multus.bin.commands() == ["ADD second eth0", "ADD first net0"]
