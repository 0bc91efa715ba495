"""The state folder: GC, repeated commands, records of the Go Multus, untrusted folders."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64encode
from binascii import crc32
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from reliability.recorder import COLLECTED, DELETED, SEEN
from reliability.state import Desk

from multus.state.lock import container_lock
from multus.state.recordfile import Writer
from multus.testing.netns import Netns


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.make(tmp_path)


class TestGC:
    def test_invalid_attachments_are_removed_and_valid_ones_passed_on(self, desk: Desk) -> None:
        conf = desk.conf("a", "b")
        for container in ("c1", "c2", "c3"):
            desk.done("ADD", conf, container)
        desk.done("GC", desk.collecting(conf, [("c2", "eth0")]))
        assert DELETED == ["net0", "eth0"] * 2
        assert COLLECTED == {"a": [("c2", "eth0")], "b": [("c2", "net0")]}
        assert desk.files() == ["c2:eth0"]

    def test_a_network_without_any_valid_attachment_is_collected_too(self, desk: Desk) -> None:
        desk.done("ADD", desk.conf("gone"))
        desk.done("GC", desk.collecting(desk.conf("a"), []))
        assert COLLECTED == {"gone": [], "a": []}

    def test_of_two_multus_networks_each_has_its_own(self, desk: Desk) -> None:
        other = desk.conf("a", name="other")
        desk.done("ADD", desk.conf("a"), "c1")
        desk.done("ADD", other, "c2")
        desk.done("GC", desk.collecting(desk.conf("a"), []))
        # Both use the network's name: GC must not free the other's attachments.
        assert COLLECTED == {"a": [("c2", "eth0")]}
        assert desk.files() == ["c2:eth0"]

    def test_two_networks_of_one_name_are_both_asked(self, desk: Desk) -> None:
        one = {"type": "recorder", "name": "same", "vlan": 1}
        conf = desk.conf(delegates=[one, {**one, "vlan": 2}])
        desk.done("ADD", conf)
        desk.done("GC", desk.collecting(conf, [("c1", "eth0")]))
        assert COLLECTED == {"same": [("c1", "eth0"), ("c1", "net0")]}

    def test_a_valid_attachment_without_a_record_keeps_plugins_from_freeing_it(
        self, desk: Desk
    ) -> None:
        conf = desk.conf("a")
        desk.done("ADD", conf, "dead")
        said = desk.call("GC", desk.collecting(conf, [("unknown", "eth0")]))
        assert said["code"] == 105 and "unknown" in said["msg"]
        assert (DELETED, COLLECTED) == (["eth0"], {})

    def test_so_does_one_whose_record_is_damaged(self, desk: Desk) -> None:
        conf = desk.conf("a", "b")
        desk.done("ADD", conf, "c1")
        path = desk.cni_dir / "c1:eth0"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([lines[0], *lines[2:]]))
        said = desk.call("GC", desk.collecting(conf, [("c1", "eth0")]))
        assert (said["code"], DELETED, COLLECTED) == (105, [], {})
        assert path.exists()

    def test_one_that_is_stuck_does_not_stop_the_others_and_is_kept(self, desk: Desk) -> None:
        stuck = {"type": "recorder", "name": "a", "stuck": True}
        conf = desk.conf(delegates=[stuck, {"type": "recorder", "name": "b"}])
        for container in ("c1", "c2"):
            desk.done("ADD", conf, container)
        said = desk.call("GC", desk.collecting(conf, []))
        assert said["code"] == 5 and said["details"].count("stuck") == 1
        assert DELETED == ["net0"] * 2
        # It still exists, so its address is still reserved.
        assert COLLECTED == {"a": [("c1", "eth0"), ("c2", "eth0")], "b": []}
        assert desk.files() == ["c1:eth0", "c2:eth0"]

    def test_a_container_with_a_running_command_is_skipped(self, desk: Desk) -> None:
        conf = desk.conf("a")
        desk.done("ADD", conf, "c1")
        with container_lock(str(desk.cni_dir), "c1", 0.0):
            desk.done("GC", desk.collecting(conf, []))
        assert (DELETED, COLLECTED) == ([], {"a": [("c1", "eth0")]})

    def test_an_incomplete_intent_is_removed(self, desk: Desk) -> None:
        desk.done("ADD", desk.conf("a"), "c1")
        (desk.cni_dir / "c9:eth0:new").write_bytes(b"1234")
        (desk.cni_dir / "c8:eth0:new").write_bytes(b"1234")
        with container_lock(str(desk.cni_dir), "c8", 0.0):
            desk.done("GC", desk.collecting(desk.conf("a"), [("c1", "eth0")]))
        assert desk.files() == ["c1:eth0", "c8:eth0:new"]
        desk.done("DEL", desk.conf("a"), "c8")
        assert desk.files() == ["c1:eth0"]

    @pytest.mark.parametrize(("container", "ifname"), [("../x", "eth0"), ("a\0b", "x"), ("c1", "")])
    def test_a_malformed_list_removes_nothing(
        self, desk: Desk, container: str, ifname: str
    ) -> None:
        desk.done("ADD", desk.conf("a"))
        said = desk.call("GC", desk.collecting(desk.conf("a"), [(container, ifname)]))
        assert (said["code"], DELETED, COLLECTED) == (7, [], {})


class TestRepeated:
    def test_an_add_that_was_cut_off_is_undone_by_the_next(self, desk: Desk) -> None:
        desk.done("ADD", desk.conf("a", "b"))
        path = desk.cni_dir / "c1:eth0"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
        desk.done("ADD", desk.conf("c"))
        assert DELETED == ["net0", "eth0"]
        assert desk.files() == ["c1:eth0"]

    def test_a_del_that_was_cut_off_is_finished_by_the_next_add(self, desk: Desk) -> None:
        desk.done("ADD", desk.conf("a", "b"), CNI_NETNS="/proc/self/ns/net")
        path = desk.cni_dir / "c1:eth0"
        assert desk.call("ADD", desk.conf("a"), CNI_NETNS="/proc/self/ns/net")["code"] == 4
        with closing(Writer(str(path))) as writer:
            writer.removing()
        desk.done("ADD", desk.conf("c"), CNI_NETNS="/proc/self/ns/net")
        assert DELETED == ["net0", "eth0"]

    def test_what_cannot_be_undone_keeps_the_record_and_nothing_is_attached(
        self, desk: Desk
    ) -> None:
        conf = desk.conf(delegates=[{"type": "recorder", "name": "a", "stuck": True}])
        desk.done("ADD", conf)
        path = desk.cni_dir / "c1:eth0"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
        said = desk.call("ADD", desk.conf("b"))
        assert said["code"] == 11 and "stuck" in said["details"]
        assert path.exists()

    def test_del_tells_every_plugin_the_result_of_its_add(self, desk: Desk) -> None:
        desk.done("ADD", desk.conf("a", "b"))
        desk.done("DEL", desk.conf())
        names = [each.prev_result.interfaces[0].name for each in SEEN if each.prev_result]
        assert names == ["net0", "eth0"]

    def test_del_looks_for_plugins_where_they_are_and_where_they_were(self, desk: Desk) -> None:
        desk.done("ADD", desk.conf("a", binDir="/old/bin"), CNI_PATH="/old/path")
        desk.done("DEL", desk.conf("a", binDir="/new/bin"), CNI_PATH="/new/path")
        assert SEEN[0].folders() == ("/new/bin", "/new/path", "/old/bin", "/old/path")


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
class TestNamespace:
    def test_del_without_one_uses_that_of_the_add_while_it_lives(self, desk: Desk) -> None:
        pod = Netns.create()
        try:
            desk.done("ADD", desk.conf("a"), CNI_NETNS=pod.path)
            desk.done("DEL", desk.conf("a"), CNI_NETNS="")
            assert SEEN[0].request.netns == pod.path
        finally:
            pod.remove()

    def test_another_one_of_the_same_name_is_not_taken_for_it(self, desk: Desk) -> None:
        pod = Netns.create()
        keeper = os.open(pod.path, os.O_RDONLY)  # keeps its inode number in use
        try:
            desk.done("ADD", desk.conf("a"), CNI_NETNS=pod.path)
            pod.remove()
            subprocess.run(["ip", "netns", "add", pod.name], check=True)
            desk.done("DEL", desk.conf("a"), CNI_NETNS="")
            assert SEEN[0].request.netns == ""
        finally:
            os.close(keeper)
            pod.remove()

    def test_a_process_number_is_never_trusted_later(self, desk: Desk) -> None:
        desk.done("ADD", desk.conf("a"), CNI_NETNS="/proc/self/ns/net")
        desk.done("DEL", desk.conf("a"), CNI_NETNS="")
        assert SEEN[0].request.netns == ""


class TestRecordsOfTheGoMultus:
    def write(self, desk: Desk, value: Any) -> Path:
        desk.cni_dir.mkdir(mode=0o700)
        path = desk.cni_dir / "c1"
        path.write_text(json.dumps(value))
        path.chmod(0o600)
        return path

    def of_2018(self) -> list[dict[str, Any]]:
        plain = {"type": "recorder"}
        return [plain, {**plain, "masterplugin": True}, plain]

    def of_today(self) -> list[dict[str, Any]]:
        def entry(name: str, **keys: Any) -> dict[str, Any]:
            conf = {"cniVersion": "1.0.0", "name": name, "type": "recorder"}
            text = b64encode(json.dumps(conf).encode()).decode()
            return {"Conf": conf, "ConfList": {}, "Name": name, "Bytes": text, **keys}

        return [entry("cluster"), entry("x", ifnameRequest="north"), entry("y")]

    def test_of_2018_del_removes_what_it_names_and_the_file(self, desk: Desk) -> None:
        self.write(desk, self.of_2018())
        desk.done("DEL", desk.conf())
        assert DELETED == ["net1", "eth0", "net0"]
        assert {each.config["name"] for each in SEEN} == {"node"}
        assert desk.files() == []

    def test_of_today_del_removes_what_it_names_and_the_file(self, desk: Desk) -> None:
        self.write(desk, self.of_today())
        desk.done("DEL", desk.conf(), CNI_IFNAME="eth7")
        assert DELETED == ["net2", "north", "eth7"]
        assert [each.config["name"] for each in SEEN] == ["y", "x", "cluster"]
        assert desk.files() == []

    def test_a_stuck_removal_is_retried(self, desk: Desk) -> None:
        self.write(desk, [{"type": "recorder", "stuck": True}, {"type": "recorder"}])
        for expected in (["net1"], []):
            said = desk.call("DEL", desk.conf())
            assert (said["code"], DELETED) == (5, expected)
            assert desk.files() == ["c1:eth0"]

    def test_add_first_removes_what_it_names(self, desk: Desk) -> None:
        self.write(desk, self.of_2018())
        desk.done("ADD", desk.conf("a"))
        assert DELETED == ["net1", "eth0", "net0"]
        assert desk.files() == ["c1:eth0"]

    def test_gc_counts_what_valid_ones_have(self, desk: Desk) -> None:
        path = self.write(desk, self.of_today())
        desk.done("ADD", desk.conf("x"), "c2")
        desk.done("GC", desk.collecting(desk.conf("x"), [("c1", "eth0")]))
        assert COLLECTED["x"] == [("c1", "north")]
        assert path.exists()

    def test_gc_leaves_one_alone_that_may_be_another_networks(self, desk: Desk) -> None:
        path = self.write(desk, self.of_2018())
        desk.done("GC", desk.collecting(desk.conf("x"), []))
        assert path.exists() and DELETED == []

    @pytest.mark.parametrize("value", [{}, [5], [{"type": 5}], [{"Bytes": "%"}], "text", 7])
    def test_one_that_cannot_be_read_is_kept_aside(self, desk: Desk, value: Any) -> None:
        path = self.write(desk, value)
        desk.done("DEL", desk.conf("a"))
        assert DELETED == ["eth0"]  # from the configuration
        assert desk.files() == ["c1:damaged"] and str(path) in desk.log()

    def test_one_that_is_a_link_is_refused(self, desk: Desk, tmp_path: Path) -> None:
        path = self.write(desk, self.of_2018())
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        said = desk.call("DEL", desk.conf())
        assert (said["code"], DELETED) == (105, [])


class TestRefused:
    def refused(self, desk: Desk, code: int = 105) -> None:
        conf = desk.collecting(desk.conf("a"), [("c1", "eth0")])
        for command in ("ADD", "DEL", "CHECK"):
            said = desk.call(command, conf)
            assert (command, said.get("code"), DELETED) == (command, code, []), said

    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
    def test_a_folder_that_others_may_write(self, desk: Desk, mode: int) -> None:
        desk.done("ADD", desk.conf("a"))
        desk.cni_dir.chmod(mode)
        self.refused(desk)
        assert desk.call("GC", desk.collecting(desk.conf("a"), []))["code"] == 105
        assert desk.call("STATUS", desk.conf("a"))["code"] == 50

    def test_a_record_that_is_a_link(self, desk: Desk, tmp_path: Path) -> None:
        desk.done("ADD", desk.conf("a"))
        path = desk.cni_dir / "c1:eth0"
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        self.refused(desk)
        # For GC it is one error among others, and no plugin frees anything.
        said = desk.call("GC", desk.collecting(desk.conf("a"), [("c1", "eth0")]))
        assert (said["code"], COLLECTED) == (105, {})

    def test_a_record_of_a_newer_program_stays_as_it_is(self, desk: Desk) -> None:
        desk.done("ADD", desk.conf("a"))
        path = desk.cni_dir / "c1:eth0"
        first, _, rest = path.read_bytes().partition(b"\n")
        text = first[9:].replace(b'"format":1', b'"format":99')
        path.write_bytes(b"%08x %s\n%s" % (crc32(text), text, rest))
        before = path.read_bytes()
        self.refused(desk)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("container", ["../../etc/x", "a/b", "..", ".hidden", "a:b", "c" * 232])
    def test_a_container_whose_name_leaves_the_folder(self, desk: Desk, container: str) -> None:
        for command in ("ADD", "DEL", "CHECK"):
            assert desk.call(command, desk.conf("a"), container)["code"] == 4
        assert not desk.cni_dir.exists() or desk.files() == []
