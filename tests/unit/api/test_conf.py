from __future__ import annotations

from typing import Any

import pytest
from attrs import fields
from unit.values import conf_of

from multus.api.conf import Conf, ValidAttachment
from multus.api.errors import IncompatibleVersion, InvalidConfig
from multus.api.problem import Problem


def test_defaults() -> None:
    conf = Conf.from_wire({"name": "n"})
    assert conf == Conf("n", "0.1.0", {"name": "n"}, bin_dir="/opt/cni/bin")
    assert (conf.cni_dir, conf.delegate_timeout) == ("/var/lib/cni/multus", 60.0)
    assert conf.valid_attachments is None and conf.prev_result is None


def test_a_folders_last_slash_does_not_matter() -> None:
    assert conf_of(binDir="/opt/x/", cniDir="/").bin_dir == "/opt/x"
    assert conf_of(cniDir="/").cni_dir == "/"


@pytest.mark.parametrize("name", [None, "", 5, [], "-a", "a/b", "a b", "é", "a\n", "../a"])
def test_a_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidConfig, match="network name"):
        conf_of(name=name)


WRONG: list[tuple[str, Any]] = [
    ("binDir", "\0"),
    ("binDir", 5),
    ("binDir", "/a\0b"),
    ("cniDir", "/\ud800"),
    ("cniDir", ["/x"]),
    ("always_use_default", "maybe"),
    ("always_use_default", 1),
    ("merger", 5),
    ("naming", "mine"),
    ("naming", True),
    ("invokers", ["exec"]),
    ("invokers", {"ptp": 5}),
    ("blockedPlugins", "all"),
    ("blockedPlugins", [5]),
    ("delegateTimeout", 0),
    ("delegateTimeout", -1),
    ("delegateTimeout", 3601),
    ("delegateTimeout", "60"),
    ("delegateTimeout", True),
    ("runtimeConfig", []),
    ("prevResult", "x"),
    ("cniVersions", "1.0.0"),
    ("cniVersions", [1]),
    ("cniVersion", 1),
    ("cni.dev/valid-attachments", {}),
    ("cni.dev/valid-attachments", ["c1"]),
    ("cni.dev/attachments", [{"containerID": 5}]),
]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=[f"{k}={v!r}" for k, v in WRONG])
def test_a_wrong_value_is_refused_and_its_key_named(key: str, value: Any) -> None:
    with pytest.raises(InvalidConfig) as caught:
        conf_of(**{key: value})
    assert key in caught.value.msg or "containerID" in caught.value.msg


@pytest.mark.parametrize("key", ["merger", "invokers", "prevResult", "delegateTimeout", "binDir"])
def test_null_is_as_if_it_were_not_there(key: str) -> None:
    given, without = conf_of(**{key: None}), conf_of()
    assert {**vars_of(given), "raw": None} == {**vars_of(without), "raw": None}


def vars_of(conf: Conf) -> dict[str, Any]:
    return {each.name: getattr(conf, each.name) for each in fields(Conf)}


class TestVersions:
    @pytest.mark.parametrize(
        ("keys", "version"),
        [
            ({}, "0.1.0"),
            ({"cniVersion": "0.4.0"}, "0.4.0"),
            ({"cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.0.0"]}, "1.0.0"),
            ({"cniVersion": "9.0.0", "cniVersions": ["1.1.0"]}, "1.1.0"),
            ({"cniVersions": ["7.0.0"]}, "0.1.0"),
        ],
    )
    def test_the_newest_that_both_know_is_spoken(self, keys: Any, version: str) -> None:
        assert Conf.from_wire({"name": "n", **keys}).cni_version == version

    @pytest.mark.parametrize(
        "keys", [{"cniVersion": "9.0.0"}, {"cniVersion": "x", "cniVersions": ["1.2.0"]}]
    )
    def test_none_in_common_is_incompatible(self, keys: Any) -> None:
        with pytest.raises(IncompatibleVersion) as caught:
            Conf.from_wire({"name": "n", **keys})
        assert keys["cniVersion"] in caught.value.msg and "1.1.0" in caught.value.msg


class TestValidAttachments:
    ENTRIES = ({"containerID": "c1", "ifname": "eth0"},)

    @pytest.mark.parametrize("key", ["cni.dev/valid-attachments", "cni.dev/attachments"])
    def test_both_spellings_are_read(self, key: str) -> None:
        conf = conf_of(**{key: list(self.ENTRIES)})
        assert conf.valid_attachments == (ValidAttachment("c1", "eth0"),)

    def test_an_empty_list_is_a_list(self) -> None:
        assert conf_of(**{"cni.dev/valid-attachments": []}).valid_attachments == ()


def test_a_problem_reads_as_one_sentence() -> None:
    problem = Problem("delegates[0].type", "is 'x'", "use another")
    assert problem.path == ("delegates", 0, "type")
    assert str(problem) == "'delegates[0].type' is 'x': use another"
