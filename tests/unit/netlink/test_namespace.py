from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from descriptors import all_closed, none_left

from multus.api.errors import InvalidConfig, KernelRefused, UnknownContainer
from multus.netlink import Namespace, NamespaceGone, is_namespace, links, sysctl
from multus.testing.netns import Netns


def own_inode() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_a_namespace_is_known_by_its_inode(netns: Netns, namespace: Namespace) -> None:
    status = os.stat(netns.path)
    assert (namespace.inode, namespace.device) == (status.st_ino, status.st_dev)
    assert not namespace.is_own()


def test_the_threads_own_namespace_says_so() -> None:
    with Namespace.current() as here:
        assert here.is_own()
        assert here.inode == own_inode()


def test_a_missing_path_is_a_container_that_is_gone(tmp_path: Path) -> None:
    path = str(tmp_path / "missing")
    assert not is_namespace(path)
    with pytest.raises(NamespaceGone) as caught:
        Namespace(path)
    assert caught.value.number == UnknownContainer.code
    assert path in caught.value.msg


def test_a_namespace_that_cannot_be_opened_is_not_called_gone(netns: Netns) -> None:
    with all_closed(), none_left():
        assert is_namespace(netns.path)
        with pytest.raises(KernelRefused, match="Too many open files"):
            Namespace(netns.path)


@pytest.mark.parametrize("what", ["file", "folder", "pipe", "another kind of namespace"])
def test_a_path_without_a_network_namespace_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "thing"
    if what == "file":
        path.write_text("")
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path = Path("/proc/self/ns/mnt")
    with all_closed():
        assert not is_namespace(str(path))
        with pytest.raises(NamespaceGone):
            Namespace(str(path))


def test_a_function_runs_inside_and_the_thread_comes_back(namespace: Namespace) -> None:
    before = own_inode()
    assert namespace.run(own_inode) == namespace.inode
    assert own_inode() == before


def test_the_thread_comes_back_from_an_error(namespace: Namespace) -> None:
    before = own_inode()

    def fail() -> None:
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        namespace.run(fail)
    assert own_inode() == before


def test_entering_two_namespaces_comes_back_one_by_one(namespace: Namespace) -> None:
    other = Netns.create("nl")
    try:
        with Namespace(other.path) as inner:
            with namespace.entered():
                with inner.entered():
                    assert own_inode() == inner.inode
                assert own_inode() == namespace.inode
    finally:
        other.remove()


def test_a_socket_stays_in_its_namespace(netns: Netns, namespace: Namespace) -> None:
    netns.ip("address", "add", "10.66.0.1/24", "dev", "lo")
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("10.66.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
            with pytest.raises(OSError, match="assign requested address"):
                outside.bind(("10.66.0.1", 0))


def test_other_threads_do_not_move(namespace: Namespace) -> None:
    seen = []
    with namespace.entered():
        thread = threading.Thread(target=lambda: seen.append(own_inode()))
        thread.start()
        thread.join()
        inherited = own_inode()
    assert seen == [inherited]  # a thread starts where the one that starts it is
    assert os.stat("/proc/self/ns/net").st_ino == own_inode()


def test_an_open_namespace_outlives_its_path(netns: Netns, namespace: Namespace) -> None:
    netns.remove()
    with namespace.channel() as channel:
        assert [link.name for link in links.list_all(channel)] == ["lo"]


def test_a_sysctl_is_set_in_the_namespace_alone(namespace: Namespace) -> None:
    outside = sysctl.read("ipv4/conf/lo/arp_notify")
    other = "0" if outside == "1" else "1"
    with namespace.entered():
        sysctl.write("ipv4/conf/lo/arp_notify", outside)
        assert not sysctl.ensure("ipv4/conf/lo/arp_notify", outside)
        assert sysctl.ensure("ipv4/conf/lo/arp_notify", other)
        assert sysctl.read("ipv4/conf/lo/arp_notify") == other
    assert sysctl.read("ipv4/conf/lo/arp_notify") == outside


@pytest.mark.parametrize("name", ["../kernel/hostname", "ipv4//ip_forward", "ipv4/a b", "", "/x"])
def test_a_sysctl_outside_of_the_network_is_refused(name: str) -> None:
    with pytest.raises(InvalidConfig):
        sysctl.write(name, "1")


def test_a_missing_sysctl_is_an_error_with_its_name() -> None:
    assert not sysctl.exists("ipv4/conf/nosuch0/arp_notify")
    with pytest.raises(KernelRefused, match="nosuch0"):
        sysctl.read("ipv4/conf/nosuch0/arp_notify")
    with pytest.raises(KernelRefused, match="nosuch0"):
        sysctl.write("ipv4/conf/nosuch0/arp_notify", "1")


def test_nothing_is_left_open(netns: Netns) -> None:
    with all_closed():
        for _ in range(50):
            with Namespace(netns.path) as opened, opened.channel() as channel:
                links.find(channel, "lo")
                opened.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
                with opened.entered():
                    sysctl.read("ipv4/ip_forward")


def test_closing_twice_is_allowed(netns: Netns) -> None:
    opened = Namespace(netns.path)
    channel = opened.channel()
    channel.close()
    channel.close()
    opened.close()
    opened.close()
