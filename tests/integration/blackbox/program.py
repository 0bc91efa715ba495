"""The program under test, and what any refusal of it has to look like."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from multus.testing.delegates import BinDir
from multus.testing.netns import Node
from multus.testing.runtime import Answer, Container, Runtime


@frozen
class Multus:
    """The installed program on a node, with folders of its own; *keys* go into every conf."""

    runtime: Runtime
    bin: BinDir
    node: Node
    cni_dir: str
    ipam_dir: str
    keys: Mapping[str, Any] = field(factory=dict)

    def conf(self, *delegates: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
        """A configuration with these delegates; a key that is None is left out."""
        conf = {
            "cniVersion": "1.0.0",
            "name": "blackbox",
            "type": "multus",
            "binDir": self.bin.path,
            "cniDir": self.cni_dir,
            "delegates": list(delegates),
            **self.keys,
            **keys,
        }
        return {key: value for key, value in conf.items() if value is not None}

    def add(self, conf: Any, container: Container) -> Answer:
        return self.runtime.add(conf, container)

    def delete(self, conf: Any, container: Container, prev_result: Any = None) -> Answer:
        return self.runtime.delete(conf, container, prev_result)

    def patient(self, seconds: float) -> Multus:
        """The same, with another time limit for one call."""
        return evolve(self, runtime=evolve(self.runtime, timeout=seconds))

    def records(self) -> list[str]:
        """The records of containers that ``cniDir`` holds; locks are none."""
        found = [name for _, _, names in os.walk(self.cni_dir) for name in names]
        return [name for name in found if name.strip(".:") != "lock"]


def refused(answer: Answer, code: int, *words: str) -> dict[str, Any]:
    """Assert that *answer* is one CNI error with this code, whose text has these words."""
    said = (answer.stdout + answer.stderr).decode(errors="replace")
    assert answer.status == 1, f"exit status {answer.status}: {said}"
    error = answer.json
    assert set(error) <= {"cniVersion", "code", "msg", "details"}, error
    assert {"cniVersion", "code", "msg"} <= set(error), error
    assert error["code"] == code, said
    assert b"Traceback" not in answer.stdout
    text = f"{error['msg']} {error.get('details', '')}"
    assert [word for word in words if word not in text] == [], text
    return dict(error)
