from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from multus.api.errors import InvalidConfig
from multus.kube.kubeconfig import Access, in_cluster, load_kubeconfig

CLUSTER = {"server": "https://10.0.0.1:6443"}


def written(
    path: Path,
    user: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
    **changes: Any,
) -> str:
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {**CLUSTER, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        **changes,
    }
    path.write_text(json.dumps(config))
    return str(path)


def loaded(path: Path, **changes: Any) -> Access:
    return load_kubeconfig(written(path / "config", **changes))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    json_path = written(tmp_path / "config", {"token": "abc"})
    yaml_path = tmp_path / "config.yaml"
    yaml_path.write_text(yaml.safe_dump(json.loads(Path(json_path).read_text())))
    assert load_kubeconfig(json_path).user == load_kubeconfig(str(yaml_path)).user


def test_relative_paths_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    access = loaded(
        tmp_path,
        user={"tokenFile": "t", "client-certificate": "pki/c.crt", "client-key": "/abs/c.key"},
        cluster={"certificate-authority": "ca.crt"},
    )
    assert access.user.token_file == str(tmp_path / "t")
    assert access.user.certificate.path == str(tmp_path / "pki/c.crt")
    assert access.user.key.path == "/abs/c.key"
    assert access.cluster.authority.path == str(tmp_path / "ca.crt")


def test_inline_data_wins_over_a_file(tmp_path: Path) -> None:
    access = loaded(
        tmp_path,
        cluster={"certificate-authority": "ca.crt", "certificate-authority-data": b64("PEM")},
    )
    assert access.cluster.authority.data == b"PEM"


def test_a_context_may_be_chosen(tmp_path: Path) -> None:
    current: dict[str, Any] = {"current-context": "one"}
    path = written(
        tmp_path / "config",
        clusters=[
            {"name": "a", "cluster": {"server": "https://a"}},
            {"name": "b", "cluster": {"server": "https://b/prefix/"}},
        ],
        contexts=[
            {"name": "one", "context": {"cluster": "a"}},
            {"name": "two", "context": {"cluster": "b"}},
        ],
        **current,
    )
    assert load_kubeconfig(path).cluster.server == "https://a"
    assert load_kubeconfig(path, "two").cluster.server == "https://b/prefix"


def test_impersonation_becomes_headers(tmp_path: Path) -> None:
    user = {"as": "alice", "as-groups": ["g1", "g2"], "as-user-extra": {"scope": ["x"]}}
    assert loaded(tmp_path, user=user).user.impersonate == (
        ("Impersonate-User", "alice"),
        ("Impersonate-Group", "g1"),
        ("Impersonate-Group", "g2"),
        ("Impersonate-Extra-scope", "x"),
    )


def test_an_exec_plugin_is_read_with_its_cluster(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("PEM")
    plugin = loaded(
        tmp_path,
        user={
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": "bin/login",
                "args": ["--now"],
                "env": [{"name": "REGION", "value": "x"}],
                "provideClusterInfo": True,
            }
        },
        cluster={"certificate-authority": "ca.crt", "tls-server-name": "api"},
    ).user.exec_plugin
    assert plugin is not None
    assert plugin.command == str(tmp_path / "bin/login")
    assert plugin.args == ("--now",)
    assert plugin.env == (("REGION", "x"),)
    assert plugin.cluster_info == {
        "server": "https://10.0.0.1:6443",
        "tls-server-name": "api",
        "certificate-authority-data": b64("PEM"),
    }


def test_secrets_are_not_in_the_representation(tmp_path: Path) -> None:
    user = {
        "token": "s3cret",
        "client-certificate-data": b64("s3cret"),
        "client-key-data": b64("x"),
    }
    assert "s3cret" not in repr(loaded(tmp_path, user=user))


WRONG = [
    ({"current-context": ""}, "'current-context' is not set"),
    ({"current-context": "y"}, "'contexts' has no entry named 'y'"),
    ({"users": []}, "'users' has no entry named 'u'"),
    ({"clusters": {}}, "'clusters' has no entry named 'c'"),
    ({"clusters": "c"}, "'clusters' must be a list"),
    ({"cluster": {"server": "10.0.0.1/path"}}, "must be a URL"),
    ({"cluster": {"server": "ftp://10.0.0.1"}}, "must be a URL"),
    ({"cluster": {"server": ""}}, "must be a URL"),
    ({"cluster": {"server": 1}}, "must be a string"),
    ({"cluster": {"certificate-authority-data": "%"}}, "is not base64"),
    (
        {"cluster": {"certificate-authority": "ca", "insecure-skip-tls-verify": True}},
        "excludes a certificate-authority",
    ),
    ({"user": {"token": 12}}, "'users[u].user.token' must be a string"),
    ({"user": {"client-key": "k"}}, "must be given together"),
    ({"user": {"username": "a", "token": "b"}}, "excludes a token"),
    ({"user": {"auth-provider": {"name": "gcp"}}}, "use 'exec' instead"),
    ({"user": {"exec": {"apiVersion": "v1"}}}, "'users[u].user.exec.command' is not set"),
    ({"user": {"exec": []}}, "must be an object"),
    ({"user": {"exec": {"command": "x", "interactiveMode": "Always"}}}, "there is no terminal"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[m for _, m in WRONG])
def test_what_is_wrong_is_named_with_file_and_key(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        loaded(tmp_path, **changes)
    assert message in caught.value.msg
    assert str(tmp_path / "config") in caught.value.msg


@pytest.mark.parametrize("text", ["token: [s3cret", '{"a": s3cret: b}', "- 1\n", ""])
def test_a_broken_file_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(InvalidConfig) as caught:
        load_kubeconfig(str(path))
    assert str(path) in caught.value.msg
    assert "s3cret" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="No such file"):
        load_kubeconfig(str(tmp_path / "none"))


def test_a_relative_path_is_one_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_kubeconfig("config").cluster.origin.startswith(f"kubeconfig {tmp_path}/config")


@pytest.mark.parametrize(
    ("cluster", "server"),
    [
        ({"server": "10.0.0.1:6443"}, "http://10.0.0.1:6443"),
        ({"server": "api"}, "http://api"),
        ({"server": "[fd00::1]:6443/"}, "http://[fd00::1]:6443"),
        ({"server": "api:6443", "certificate-authority": "ca.crt"}, "https://api:6443"),
        ({"server": "api:6443", "insecure-skip-tls-verify": True}, "https://api:6443"),
    ],
)
def test_a_server_without_a_scheme(tmp_path: Path, cluster: dict[str, Any], server: str) -> None:
    assert loaded(tmp_path, cluster=cluster).cluster.server == server


def test_a_pod_finds_its_api_server_in_the_environment() -> None:
    access = in_cluster(
        {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, "/sa"
    )
    assert access.cluster.server == "https://[fd00::1]:443"
    assert access.cluster.authority.path == "/sa/ca.crt"
    assert access.user.token_file == "/sa/token"


def test_outside_a_pod_the_message_asks_for_a_kubeconfig() -> None:
    with pytest.raises(InvalidConfig, match="set 'kubeconfig'"):
        in_cluster({})
