"""Which certificate is wanted, and the kubeconfig that uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multus.api.errors import InvalidConfig
from multus.certificate.wanted import Wanted, duration_problem, seconds_of
from multus.daemon.settings import Settings
from multus.kube.kubeconfig import Pem, load_kubeconfig


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600),
        ("24h", 86400),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("900s", 900),
        ("1h0m0.5s", 3600.5),
    ],
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
    assert duration_problem(text) == ""


@pytest.mark.parametrize("text", ["", "10", "h", "1d", "10m ", "-1h", "9m59s", "8761h"])
def test_others_are_refused(text: str) -> None:
    assert duration_problem(text)


def settings(**certificate: Any) -> Settings:
    given = {"enabled": True, "bootstrapKubeconfig": "/b", "certDir": "/c", **certificate}
    raw = {"perNodeCertificate": given, "kubeconfig": "/k", "nodeName": "n1"}
    return Settings.of(raw, "daemon.json", {})


def test_without_a_duration_it_is_the_one_of_the_go_multus() -> None:
    assert settings().certificate == Wanted("n1", "/b", "/c", 600)
    assert settings(certDuration="").certificate == Wanted("n1", "/b", "/c", 600)


def test_it_takes_the_place_of_the_kubeconfig_when_it_is_enabled() -> None:
    assert settings().kubeconfig == "/c/multus-client.kubeconfig"
    off = settings(enabled=False)
    assert (off.kubeconfig, off.certificate) == ("/k", None)


@pytest.mark.parametrize("key", ["bootstrapKubeconfig", "certDir"])
def test_it_needs_both_paths(key: str) -> None:
    with pytest.raises(InvalidConfig, match=f"perNodeCertificate.{key}' is missing"):
        settings(**{key: ""})


@pytest.mark.parametrize(
    "cluster",
    [
        {"server": "https://10.0.0.1:6443", "certificate-authority": "ca.crt"},
        {"server": "https://api", "insecure-skip-tls-verify": True, "tls-server-name": "other"},
        {"server": "http://api", "proxy-url": "http://proxy"},
    ],
)
def test_its_kubeconfig_has_the_server_of_the_bootstrap_and_no_other_credentials(
    tmp_path: Path, cluster: dict[str, Any]
) -> None:
    wire = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(json.dumps(wire))
    wanted = Wanted("n1", str(bootstrap), str(tmp_path / "certs"), 600)
    wanted.prepare()
    before, after = load_kubeconfig(str(bootstrap)), load_kubeconfig(wanted.kubeconfig)
    assert after.cluster.server == before.cluster.server
    assert after.cluster.authority == before.cluster.authority
    assert after.cluster.insecure == before.cluster.insecure
    assert after.cluster.tls_server_name == before.cluster.tls_server_name
    assert after.cluster.proxy_url == before.cluster.proxy_url
    assert after.user.certificate == after.user.key == Pem(path=wanted.current)
    assert "secret" not in Path(wanted.kubeconfig).read_text()
