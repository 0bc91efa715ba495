"""`multus validate` points at the same keys in whatever words errors are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.cli.conftest import Command
from unit.cli.test_validate import NAD, WRONG_KEYS, conf

from multus.api.errors import CNIError
from multus.api.problem import Problem

File = Callable[[str, "str | dict[str, Any]"], Path]

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations:
    k8s.v1.cni.cncf.io/networks: '%s'
"""
NETWORK = """\
apiVersion: kubernetes-network.cni.cncf.io/v1
kind: Network
metadata: {name: x}
plugin: flannel
args: '%s'
"""
OBJECTS = [
    *(POD % text for text in ("lan,", "[{}]", "[1]", "A", "lan@a/b", '[{"name":"a","mac":1}]')),
    *(NETWORK % text for text in ("[]", "{}", '[{"a": 1,}]', '[{"type": "b"}]')),
    *(
        NAD.format(text)
        for text in ("{", "{}", '{"type": 5}', '{"type": "ptp", "cniVersion": "9"}')
    ),
    NAD.format('{"type": "multus"}'),
]


@pytest.fixture
def reworded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, every error and problem has other words, without marks and quotes."""
    made, found = CNIError.__init__, Problem.__new__

    def error(self: CNIError, reason: str, details: str = "", **parts: Any) -> None:
        made(self, "other words", "", **{**parts, "fix": "something else"})

    def problem(cls: type[Problem], path: Any, reason: str, fix: str = "") -> Problem:
        return found(cls, path, "other words", "something else")

    def begin() -> None:
        monkeypatch.setattr(CNIError, "__init__", error)
        monkeypatch.setattr(Problem, "__new__", problem)

    return begin


def places(multus: Command, path: Path) -> list[tuple[Any, ...]]:
    found = multus("validate", "--json", "-f", path).json["findings"]
    return [tuple(each.get(key) for key in ("subject", "line", "column", "code")) for each in found]


@pytest.mark.parametrize("keys", [each[0] for each in WRONG_KEYS], ids=str)
def test_a_wrong_key_is_pointed_at_in_other_words_too(
    multus: Command, file: File, reworded: Callable[[], None], keys: dict[str, Any]
) -> None:
    path = file("multus.conf", conf(**keys))
    before = places(multus, path)
    reworded()
    assert places(multus, path) == before != []


@pytest.mark.parametrize("text", OBJECTS)
def test_a_wrong_object_is_pointed_at_in_other_words_too(
    multus: Command, file: File, reworded: Callable[[], None], text: str
) -> None:
    path = file("objects.yaml", text)
    before = places(multus, path)
    reworded()
    assert places(multus, path) == before != []


@pytest.mark.parametrize("keys", [each[0] for each in WRONG_KEYS], ids=str)
def test_every_finding_says_what_to_do(multus: Command, file: File, keys: dict[str, Any]) -> None:
    said = multus("validate", "--json", "-f", file("multus.conf", conf(**keys)))
    assert all(each["fix"] for each in said.json["findings"])


@pytest.mark.parametrize("text", OBJECTS)
def test_every_finding_about_an_object_does_too(multus: Command, file: File, text: str) -> None:
    said = multus("validate", "--json", "-f", file("objects.yaml", text))
    assert all(each["fix"] for each in said.json["findings"])


def test_the_systems_own_word_is_no_instruction(multus: Command, tmp_path: Path) -> None:
    (tmp_path / "net.d").write_text("")
    said = multus("validate", "--net-d", tmp_path / "net.d")
    assert said.status == 1
    assert "Not a directory: " in said.err
