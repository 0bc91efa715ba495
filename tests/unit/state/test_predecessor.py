"""Records of the Go Multus: both forms, adopted or only looked at."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import DecodingFailure, StateDamaged
from multus.api.network import Provenance
from multus.api.request import Request
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
RESULT = {"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.2/24"}]}
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


def kept(journal: Journal, network: str, ifname: str, **keys: Any) -> Path:
    """What libcni kept of container c1; without *keys*, the form before 2020."""
    path = Path(journal.folder, "results", f"{network}-c1-{ifname}")
    path.parent.mkdir(exist_ok=True)
    form = {"kind": "cniCacheV1", "containerId": "c1", "networkName": network, "ifName": ifname}
    path.write_text(json.dumps({**form, "result": RESULT, **keys} if keys else RESULT))
    path.chmod(0o600)
    return path


def planned_in(journal: Journal, entries: Any, conf: Conf = CONF) -> tuple[Planned, ...]:
    found = predecessor.read(written(journal, entries), "eth0", conf)
    assert found is not None
    return found.planned


def places(planned: tuple[Planned, ...]) -> list[tuple[str, str, bool]]:
    return [(e.delegate.types, e.delegate.ifname, e.delegate.primary) for e in planned]


class TestRead:
    def test_the_newer_form_names_interfaces_by_request_or_place(self, journal: Journal) -> None:
        found = planned_in(journal, NEWER)
        assert places(found) == [
            ("bridge", "eth0", True),
            ("macvlan+tuning", "net1", False),
            ("ptp", "data", False),
        ]
        assert [step.config["name"] for each in found for step in each.steps] == [
            "one", "two", "two", "three",
        ]  # fmt: skip

    def test_the_older_form_counts_all_but_the_primary(self, journal: Journal) -> None:
        found = planned_in(journal, OLDER)
        assert places(found) == [
            ("macvlan", "net0", False),
            ("bridge", "eth0", True),
            ("ptp", "net1", False),
        ]

    @pytest.mark.parametrize("entries", [NEWER, OLDER])
    def test_each_counts_as_a_tenants(self, journal: Journal, entries: Any) -> None:
        found = planned_in(journal, entries)
        assert {each.delegate.provenance for each in found} == {Provenance.TENANT}

    def test_none_is_there(self, journal: Journal) -> None:
        assert predecessor.read(f"{journal.folder}/c1", "eth0", CONF) is None

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{}",
            b"[]",
            b"[5]",
            b'[{"type":5}]',
            b'[{"Bytes":5}]',
            b'[{"Bytes":"!"}]',
            b"[{}]",
            b"\0",
        ],
    )
    def test_something_else_is_not_one(self, journal: Journal, data: bytes) -> None:
        with pytest.raises(DecodingFailure, match="Go Multus"):
            predecessor.read(written(journal, data), "eth0", CONF)

    def test_a_file_that_others_may_write_is_refused(self, journal: Journal) -> None:
        path = written(journal, OLDER)
        os.chmod(path, 0o666)
        with pytest.raises(StateDamaged):
            predecessor.read(path, "eth0", CONF)


class TestWhatLibcniKept:
    def test_is_the_result_of_its_delegate(self, journal: Journal) -> None:
        kept(journal, "two", "net1", capabilityArgs={"mac": "x"}, cniArgs=[["A", ""], ["A", "1"]])
        found = predecessor.read(written(journal, NEWER), "eth0", CONF)
        assert found is not None and list(found.done) == [1]
        done = found.done[1]
        assert done.result.ips[0].address == "192.0.2.2/24"
        assert (done.versions, done.delegate) == (("1.1.0",) * 2, found.planned[1].delegate)
        assert done.delegate.runtime_config == {"mac": "x"}
        assert found.caches[1].args == "A=1"

    def test_may_be_the_result_alone(self, journal: Journal) -> None:
        kept(journal, "one", "eth0")
        record = predecessor.look(journal.folder, request_for_c1(journal), CONF)
        assert record is not None and record.result is not None
        assert record.result.ips[0].address == "192.0.2.2/24"

    def test_has_what_an_older_record_lost_of_the_same_plugins(self, journal: Journal) -> None:
        first, second = {"type": "macvlan", "x": 1}, {"type": "tuning", "x": 2}
        for plugins, expected in (
            ([first, second], [1, 2]),
            ([first], [1, None]),  # a folder added the second
            ([second], [None, None]),
            ([first, second, first], [None, None]),
        ):
            config = {"name": "two", "plugins": plugins}
            kept(
                journal,
                "two",
                "net1",
                config=base64.b64encode(json.dumps(config).encode()).decode(),
            )
            steps = planned_in(journal, NEWER)[1].steps
            assert [step.config.get("x") for step in steps] == expected

    @pytest.mark.parametrize(
        "keys",
        [{"containerId": "c2"}, {"config": "!"}, {"result": 5}, {"config": "W10="}],
    )
    def test_of_another_or_damaged_is_left_out(self, journal: Journal, keys: Any) -> None:
        kept(journal, "one", "eth0", **keys)
        found = predecessor.read(written(journal, NEWER), "eth0", CONF)
        assert found is not None and not found.done

    def test_that_others_may_write_is_left_out(self, journal: Journal) -> None:
        kept(journal, "one", "eth0", netns="").chmod(0o622)
        found = predecessor.read(written(journal, NEWER), "eth0", CONF)
        assert found is not None and not found.done

    def test_names_the_interface_and_the_namespace(self, journal: Journal) -> None:
        kept(journal, "one", "ens5", netns="/run/netns/x", cniArgs=[["K8S_POD_NAME", "web"]])
        written(journal, NEWER)
        (record,) = predecessor.records(journal, (), request_of("GC"), CONF)
        assert record.key == ("c1", "ens5")
        assert record.request.netns == "/run/netns/x"
        assert record.request.args == {"K8S_POD_NAME": "web"}

    def test_alone_it_does_not_say_whether_it_is_all(self, journal: Journal) -> None:
        config = base64.b64encode(json.dumps({"name": "x", "type": "y"}).encode()).decode()
        path = kept(journal, "x", "eth0", config=config)
        (record,) = predecessor.records(journal, [("c1", "eth0")], request_of("GC"), CONF)
        assert record.path == str(path) and not record.complete
        adopted = predecessor.adopt(journal, request_of("DEL"), CONF, TestAdopt.LOG)
        assert adopted is not None and adopted.complete and not path.exists()

    def test_without_it_the_runtimes_result_is_the_default_networks(self, journal: Journal) -> None:
        found = predecessor.read(written(journal, NEWER), "eth0", conf_of(prevResult=RESULT))
        assert found is not None and list(found.done) == [0]

    def test_without_it_a_record_has_what_was_asked(self, journal: Journal) -> None:
        entries = [NEWER[0], newer({"type": "x", "capabilities": {"mac": True}}, macRequest="m")]
        steps = planned_in(journal, entries)[1].steps
        assert steps[0].config["runtimeConfig"] == {"mac": "m"}

    def test_the_description_of_a_device_is_named(self, journal: Journal) -> None:
        entries = [NEWER[0], newer({"type": "x"}, Name="default/vf", deviceID="0000:03:02.0")]
        first, second = planned_in(journal, entries)
        assert first.delegate.device_info == ""
        folder = "/var/run/k8s.cni.cncf.io/devinfo/cni"
        assert second.delegate.device_info == f"{folder}/default-vf-c1_net1"


def request_for_c1(journal: Journal) -> Request:
    written(journal, NEWER)
    return request_of("CHECK")


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

    def test_the_record_has_the_results_and_libcnis_files_are_removed(
        self, journal: Journal
    ) -> None:
        written(journal, NEWER)
        path = kept(journal, "two", "net1")
        record = predecessor.adopt(journal, request_of("DEL"), CONF, self.LOG)
        assert record is not None and list(record.done) == [1] == record.standing()
        assert not path.exists()

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
    record, dead = predecessor.records(journal, keys, request_of("GC"), CONF)
    assert record.key == ("c1", "eth0") and record.complete
    assert [record.planned[index].delegate.name for index in record.left()] == [
        "one", "two", "three",
    ]  # fmt: skip
    assert dead.key == ("c4", "eth0")
    assert sorted(os.listdir(journal.folder)) == before
