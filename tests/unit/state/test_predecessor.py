"""Records of the Go Multus: both forms, adopted or only looked at."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from unit.values import conf_of, request_of

from multus.api.errors import DecodingFailure, StateDamaged
from multus.api.network import Provenance
from multus.log import Log
from multus.state import predecessor
from multus.state.journal import Journal
from multus.state.record import Planned

CONF = conf_of()


def newer(config: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"Bytes": base64.b64encode(json.dumps(config).encode()).decode(), **keys}


NEWER = [
    newer({"type": "bridge", "name": "one", "cniVersion": "0.3.1"}),
    newer({"plugins": [{"type": "macvlan"}, {"type": "tuning"}], "name": "two"}),
    newer({"type": "ptp", "name": "three"}, ifnameRequest="data"),
]
OLDER = [{"type": "macvlan"}, {"type": "bridge", "masterplugin": True}, {"type": "ptp"}]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(str(tmp_path / "state"))
    made.prepare()
    return made


def written(journal: Journal, entries: Any, container_id: str = "c1") -> str:
    path = Path(journal.folder, container_id)
    path.write_bytes(entries if isinstance(entries, bytes) else json.dumps(entries).encode())
    path.chmod(0o600)
    return str(path)


def places(planned: tuple[Planned, ...] | None) -> list[tuple[str, str, bool]]:
    return [(e.delegate.types, e.delegate.ifname, e.delegate.primary) for e in planned or ()]


class TestRead:
    def test_the_newer_form_names_interfaces_by_request_or_place(self, journal: Journal) -> None:
        found = predecessor.read(written(journal, NEWER), "eth0", CONF)
        assert places(found) == [
            ("bridge", "eth0", True),
            ("macvlan+tuning", "net1", False),
            ("ptp", "data", False),
        ]
        assert found is not None
        assert [step.config["name"] for each in found for step in each.steps] == [
            "one", "two", "two", "three",
        ]  # fmt: skip

    def test_the_older_form_counts_all_but_the_primary(self, journal: Journal) -> None:
        found = predecessor.read(written(journal, OLDER), "eth0", CONF)
        assert places(found) == [
            ("macvlan", "net0", False),
            ("bridge", "eth0", True),
            ("ptp", "net1", False),
        ]

    @pytest.mark.parametrize("entries", [NEWER, OLDER])
    def test_each_counts_as_a_tenants(self, journal: Journal, entries: Any) -> None:
        found = predecessor.read(written(journal, entries), "eth0", CONF) or ()
        assert {each.delegate.provenance for each in found} == {Provenance.TENANT}

    def test_none_is_there(self, journal: Journal) -> None:
        assert predecessor.read(f"{journal.folder}/c1", "eth0", CONF) is None

    @pytest.mark.parametrize(
        "data",
        [b"", b"{}", b"[5]", b'[{"type":5}]', b'[{"Bytes":5}]', b'[{"Bytes":"!"}]', b"[{}]", b"\0"],
    )
    def test_something_else_is_not_one(self, journal: Journal, data: bytes) -> None:
        with pytest.raises(DecodingFailure, match="Go Multus"):
            predecessor.read(written(journal, data), "eth0", CONF)

    def test_a_file_that_others_may_write_is_refused(self, journal: Journal) -> None:
        path = written(journal, OLDER)
        os.chmod(path, 0o666)
        with pytest.raises(StateDamaged):
            predecessor.read(path, "eth0", CONF)


class TestAdopt:
    LOG = Log.from_conf({"logLevel": "error"})

    def test_it_becomes_a_record_and_its_file_is_removed(self, journal: Journal) -> None:
        path = written(journal, NEWER)
        record = predecessor.adopt(journal, request_of("DEL"), CONF, self.LOG)
        assert record is not None and record.complete and record.result is None
        assert [record.planned[index].delegate.ifname for index in record.left()] == [
            "eth0", "net1", "data",
        ]  # fmt: skip
        assert not os.path.exists(path)
        assert journal.find("c1", "eth0") == record

    def test_one_that_cannot_be_read_is_kept_for_people(
        self, journal: Journal, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = written(journal, b"no JSON")
        assert predecessor.adopt(journal, request_of("DEL"), CONF, self.LOG) is None
        assert os.listdir(journal.folder) == ["c1:damaged"]
        assert f"{path}:damaged" in capfd.readouterr().err

    def test_none_is_there(self, journal: Journal) -> None:
        assert predecessor.adopt(journal, request_of("DEL"), CONF, self.LOG) is None
        assert os.listdir(journal.folder) == []


def test_for_gc_those_of_valid_attachments_are_looked_at_and_stay(journal: Journal) -> None:
    for container_id, entries in (("c1", NEWER), ("c2", b"no JSON"), ("c4", OLDER)):
        written(journal, entries, container_id)
    before = sorted(os.listdir(journal.folder))
    keys = frozenset([("c1", "eth0"), ("c2", "eth0"), ("c3", "eth0")])
    (record,) = predecessor.records(journal.folder, keys, request_of("GC"), CONF)
    assert record.key == ("c1", "eth0") and record.complete
    assert [record.planned[index].delegate.name for index in record.left()] == [
        "one", "two", "three",
    ]  # fmt: skip
    assert sorted(os.listdir(journal.folder)) == before
