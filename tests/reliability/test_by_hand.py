"""``multus attachments`` and ``multus gc``, and what CHECK sees, on real networks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from reliability.ground import Ground

from multus.cli import main
from multus.state.lock import container_lock
from multus.testing.runtime import Container


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    status = main(argv)
    return status, capsys.readouterr().out


def listed(capsys: pytest.CaptureFixture[str], ground: Ground) -> Any:
    return json.loads(printed(capsys, "attachments", "--json", "--cni-dir", ground.cni_dir)[1])


def die(ground: Ground, container: Container) -> None:
    """Remove the container's namespace without a DEL."""
    ground.pods.pop(container.id).remove()


class TestAttachments:
    def test_lists_every_interface(
        self, on_ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        container = on_ground.container("c1")
        on_ground.done("ADD", on_ground.mixed(), container)
        status, text = printed(capsys, "attachments", "--cni-dir", on_ground.cni_dir)
        rows = [line.split() for line in text.splitlines()[1:]]
        assert status == 0
        assert [row[:5] for row in rows] == [
            ["c1", "eth0", "masq", "10.1.0.2/24", "attached"],
            ["c1", "net0", "br", "10.5.0.2/24", "attached"],
            ["c1", "net1", "plain", "10.3.0.2/24", "attached"],
            ["c1", "net2", "goptp", "10.8.0.2/24", "attached"],
        ]

    def test_says_whose_namespace_is_gone(
        self, on_ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("c1", "c2"):
            on_ground.done("ADD", on_ground.in_process(), on_ground.container(name))
        die(on_ground, on_ground.container("c1"))
        records = listed(capsys, on_ground)["records"]
        alive = {each["containerID"]: each["alive"] for each in records}
        assert alive == {"c1": False, "c2": True}

    def test_of_a_folder_that_is_not_there_says_so(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        assert main(("attachments", "--cni-dir", str(tmp_path / "none"))) == 2
        assert f"there is no folder '{tmp_path}/none'" in capsys.readouterr().err
        status, text = printed(capsys, "attachments", "--cni-dir", str(tmp_path))
        assert (status, text) == (0, "nothing is attached\n")

    def test_names_what_cannot_be_read_and_what_is_kept_aside(
        self, on_ground: Ground, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        folder = Path(on_ground.cni_dir)
        on_ground.done("ADD", on_ground.in_process(), on_ground.container("c1"))
        (folder / "c2:eth0").symlink_to(tmp_path)
        (folder / "c3:eth0:damaged").write_bytes(b"")
        (folder / "c4").write_bytes(b"[]")
        (folder / "c5:eth0").write_bytes(b"torn")
        status, text = printed(capsys, "attachments", "--cni-dir", on_ground.cni_dir)
        assert status == 1
        for words in ("c2:eth0", "symbolic link", "c3:eth0:damaged", "Go Multus", "c5:eth0: "):
            assert words in text


class TestGC:
    def test_removes_what_is_dead_and_nothing_else(
        self, on_ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        conf = on_ground.mixed()
        live, dead = on_ground.container("live"), on_ground.container("dead")
        on_ground.done("ADD", conf, live)
        before = on_ground.state()
        on_ground.done("ADD", conf, dead)
        die(on_ground, dead)
        argv = ("gc", "--cni-dir", on_ground.cni_dir)
        status, text = printed(capsys, *argv, "--dry-run")
        assert status == 0 and text.startswith("would be removed: container dead")
        assert Path(on_ground.cni_dir, "dead:eth0").exists()
        assert Path(on_ground.ipam_dir, "masq", "10.1.0.3").exists()
        status, text = printed(capsys, *argv)
        assert status == 0 and text.startswith("removed: container dead") and "live" not in text
        left = [fact for fact in before.difference(on_ground.state()) if fact[0] == "+"]
        assert left == []
        on_ground.done("CHECK", conf, live)
        assert printed(capsys, *argv)[1].startswith("no garbage")

    def test_another_namespace_of_the_same_name_is_not_the_container(
        self, on_ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        conf, container = on_ground.in_process(), on_ground.container("c1")
        on_ground.done("ADD", conf, container)
        pod = on_ground.pods["c1"]
        with open(pod.path, "rb"):  # keeps its inode number in use
            pod.remove()
            subprocess.run(["ip", "netns", "add", pod.name], check=True)
            status, text = printed(capsys, "gc", "--cni-dir", on_ground.cni_dir)
        assert status == 0 and "removed: container c1" in text

    def test_leaves_what_another_command_works_on(
        self, on_ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        container = on_ground.container("c1")
        on_ground.done("ADD", on_ground.in_process(), container)
        die(on_ground, container)
        with container_lock(on_ground.cni_dir, "c1", 0.0):
            status, text = printed(capsys, "gc", "--cni-dir", on_ground.cni_dir)
        assert (status, text.splitlines()[0][:18]) == (1, "left: container c1")
        assert printed(capsys, "gc", "--cni-dir", on_ground.cni_dir)[0] == 0

    def test_says_what_could_not_be_removed(
        self, on_ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        container = on_ground.container("c1")
        on_ground.done("ADD", on_ground.executed(), container)
        die(on_ground, container)
        on_ground.bin.remove("macvlan")
        status, text = printed(capsys, "gc", "--json", "--cni-dir", on_ground.cni_dir)
        report = json.loads(text)
        assert status == 1
        left = {each["kind"]: each for each in report["left"]}
        assert left["record"]["containerID"] == "c1" and "'macvlan'" in left["record"]["problem"]
        assert left["address"]["name"] == "address 10.7.0.2 of 'macvlan'"
        assert "10.6.0.2" in str(report["removed"]) and report["errors"] == []
        on_ground.bin.real("macvlan")
        assert printed(capsys, "gc", "--cni-dir", on_ground.cni_dir)[0] == 0


class TestCheck:
    """The delegates' own CHECK does not find these: they are static, or older than CHECK."""

    def damaged(self, ground: Ground, *argv: str, key: str = "c1") -> str:
        conf, container = ground.in_process(), ground.container(key)
        ground.done("ADD", conf, container)
        ground.done("CHECK", conf, container)
        ground.pods[key].ip(*argv)
        status, stdout = ground.call("CHECK", conf, container)
        assert status == 1
        error = json.loads(stdout)
        return f"{error['msg']}; {error['details']}"

    def test_an_interface_that_is_gone(self, on_ground: Ground) -> None:
        said = self.damaged(on_ground, "link", "del", "net1")
        assert "interface net1 is gone from the container's namespace" in said

    def test_another_mac(self, on_ground: Ground) -> None:
        mac = "02:00:00:00:00:99"
        said = self.damaged(on_ground, "link", "set", "net0", "address", mac)
        assert f"net0 has MAC {mac}, the record says" in said

    def test_an_address_that_is_gone(self, on_ground: Ground) -> None:
        said = self.damaged(on_ground, "address", "del", "fd00:4::2/64", "dev", "net2")
        assert "net2 has no address fd00:4::2/64" in said

    def test_a_route_that_is_gone(self, on_ground: Ground) -> None:
        said = self.damaged(on_ground, "route", "del", "10.200.3.0/24")
        assert "the route to 10.200.3.0/24 via 10.3.0.1 is gone" in said

    def test_the_hosts_end_that_is_gone(self, on_ground: Ground) -> None:
        conf, container = on_ground.mixed(), on_ground.container("c1")
        on_ground.done("ADD", conf, container)
        status, text = on_ground.call("CHECK", conf, container)
        assert status == 0, text
        on_ground.node.ip("link", "set", "br0", "name", "br1")
        said = on_ground.call("CHECK", conf, container)[1].decode()
        assert "interface br0 is gone from the host" in said
        on_ground.node.ip("link", "set", "br1", "name", "br0")

    def test_another_namespace_than_the_one_that_was_attached(self, on_ground: Ground) -> None:
        conf, container = on_ground.in_process(), on_ground.container("c1")
        on_ground.done("ADD", conf, container)
        other = on_ground.container("c2")
        said = on_ground.call("CHECK", conf, evolve(container, netns=other.netns))[1].decode()
        assert f"{other.netns} is another network namespace" in said

    def test_the_whole_namespace_that_is_gone(self, on_ground: Ground) -> None:
        conf, container = on_ground.in_process(), on_ground.container("c1")
        on_ground.done("ADD", conf, container)
        die(on_ground, container)
        assert container.netns in on_ground.call("CHECK", conf, container)[1].decode()
