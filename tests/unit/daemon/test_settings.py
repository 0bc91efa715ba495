from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multus.api.errors import CNIError, DecodingFailure, InvalidConfig
from multus.daemon.settings import Settings

EXAMPLE = Path(__file__).parents[3] / "deploy" / "daemonset" / "daemon.json"


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    settings = Settings.read(str(tmp_path / "none"), {})
    assert settings.socket == "/run/multus/multus.sock"
    assert settings.cni_dir == "/var/lib/cni/multus"
    assert (settings.limits.workers, settings.limits.admitted) == (32, 1024)
    assert (settings.kubeconfig, settings.chroot, settings.metrics_port) == ("", "", 0)


def test_every_key_is_read(tmp_path: Path) -> None:
    raw = {
        "socketDir": "/x",
        "cniDir": "/y/",
        "kubeconfig": "/z",
        "nodeName": "n1",
        "chrootDir": "/host/",
        "metricsPort": 9100,
        "pageAddress": "[::1]:8470",
        "connectionLimit": 5,
        "workers": 2,
        "logLevel": "debug",
    }
    path = tmp_path / "daemon.json"
    path.write_text("# for people\n" + json.dumps(raw))
    settings = Settings.read(str(path), {"MULTUS_NODE_NAME": "other"})
    assert settings.socket == "/x/multus.sock"
    assert (settings.cni_dir, settings.chroot) == ("/y", "/host")
    assert (settings.node, settings.kubeconfig) == ("n1", "/z")
    assert settings.page_address == "[::1]:8470"
    assert (settings.limits.workers, settings.limits.admitted) == (2, 5)
    assert settings.log == {"logLevel": "debug"}


def test_the_letter_case_of_a_key_does_not_matter() -> None:
    raw = {"SocketDir": "/a", "WORKERS": 3, "LogLevel": "debug", "logOptions": {"MaxAge": 1}}
    settings = Settings.of(raw, "x", {})
    assert (settings.socket, settings.limits.workers) == ("/a/multus.sock", 3)
    assert settings.log == {"logLevel": "debug", "logOptions": {"maxAge": 1}}


def test_the_environment_names_the_socket_and_the_node() -> None:
    environ = {"MULTUS_SOCKET": "/a/b.sock", "MULTUS_NODE_NAME": "n2"}
    settings = Settings.of({"socketDir": "/x"}, "here", environ)
    assert (settings.socket, settings.node) == ("/a/b.sock", "n2")


def test_the_daemonsets_settings_are_valid() -> None:
    Settings.of(json.loads(EXAMPLE.read_text()), "the example", {})


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ({"workers": 0}, "workers"),
        ({"workers": True}, "workers"),
        ({"workers": 1.5}, "workers"),
        ({"connectionLimit": -1}, "connectionLimit"),
        ({"metricsPort": 70000}, "metricsPort"),
        ({"metricsAddress": "localhost"}, "metricsAddress"),
        ({"metricsAddress": "10.0.0.1/24"}, "metricsAddress"),
        ({"pageAddress": "8470"}, "pageAddress"),
        ({"pageAddress": "localhost:8470"}, "pageAddress"),
        ({"socketDir": "x"}, "socketDir"),
        ({"chrootDir": 1}, "chrootDir"),
        ({"logOptions": {"maxAge": -1}}, "maxAge"),
        ({"unheard": 1}, "unheard"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(raw: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        Settings.of(raw, "/etc/daemon.json", {})
    assert word in caught.value.msg
    assert "/etc/daemon.json" in caught.value.msg


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff"])
def test_a_file_that_is_not_a_json_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "daemon.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DecodingFailure):
        Settings.read(str(path), {})


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CNIError):
        Settings.read(str(tmp_path), {})


@pytest.mark.parametrize(
    ("raw", "environ", "address"),
    [
        ({}, {"MULTUS_POD_IP": "10.0.0.7"}, "127.0.0.1"),
        ({"metricsAddress": ""}, {}, "127.0.0.1"),
        ({"metricsAddress": "fd00::1"}, {}, "fd00::1"),
        ({"metricsAddress": "pod"}, {"MULTUS_POD_IP": "10.0.0.7"}, "10.0.0.7"),
        ({"metricsAddress": "pod"}, {}, ""),
        ({"metricsAddress": "pod"}, {"MULTUS_POD_IP": "0.0.0.0/0"}, ""),
    ],
    ids=str,
)
def test_metrics_are_at_the_loopback_unless_another_address_is_asked_for(
    raw: dict[str, Any], environ: dict[str, str], address: str
) -> None:
    assert Settings.of(raw, "x", environ).metrics_address == address
