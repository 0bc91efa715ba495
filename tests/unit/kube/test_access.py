"""Every kind of credentials, against the stand-in."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from multus.api.errors import InvalidConfig, TryAgainLater
from multus.api.kubernetes import ApiFailure, Deadline, Unreachable
from multus.kube.client import KubeClient
from multus.kube.kubeconfig import Access, in_cluster, load_kubeconfig
from multus.testing.apiserver import PROOFS, ApiServer

Connect = Callable[..., KubeClient]


@pytest.mark.parametrize("proof", PROOFS)
def test_each_proof_is_accepted(
    api: ApiServer, connect: Connect, soon: Deadline, proof: str
) -> None:
    api.create_pod("web")
    assert connect(proof).pod("default", "web", soon)["name"] == "web"


def test_a_rotated_token_file_is_read_again(
    api: ApiServer, connect: Connect, soon: Deadline, tmp_path: Path
) -> None:
    api.create_pod("web")
    client = connect("token-file")
    client.pod("default", "web", soon)
    api.access.token = "rotated"
    (tmp_path / "token.new").write_text("rotated\n")
    os.replace(tmp_path / "token.new", tmp_path / "token")
    client.pod("default", "web", soon)
    assert api.requests["GET", "/api/v1/namespaces/default/pods/web"] == 2


def test_a_token_that_lags_behind_is_read_once_more_after_401(
    api: ApiServer, connect: Connect, soon: Deadline, tmp_path: Path
) -> None:
    api.create_pod("web")
    client = connect("token-file")
    api.access.token = "rotated"
    with pytest.raises(ApiFailure) as caught:
        client.pod("default", "web", soon)
    assert (caught.value.number, caught.value.status) == (11, 401)
    assert "stand-in-token" not in str(caught.value)
    assert api.requests["GET", "/api/v1/namespaces/default/pods/web"] == 2


def test_the_last_good_token_stands_while_the_file_is_away(
    api: ApiServer, connect: Connect, soon: Deadline, tmp_path: Path
) -> None:
    api.create_pod("web")
    client = connect("token-file")
    client.pod("default", "web", soon)
    (tmp_path / "token").unlink()
    client.pod("default", "web", soon)


def test_a_token_file_that_never_was_is_named(
    api: ApiServer, connect: Connect, soon: Deadline, tmp_path: Path
) -> None:
    client = connect("token-file")
    (tmp_path / "token").unlink()
    with pytest.raises(TryAgainLater, match=str(tmp_path / "token")):
        client.pod("default", "web", soon)


def test_a_token_file_that_is_a_fifo_is_refused_at_once(
    api: ApiServer, connect: Connect, soon: Deadline, tmp_path: Path
) -> None:
    client = connect("token-file")
    (tmp_path / "token").unlink()
    os.mkfifo(tmp_path / "token")
    with pytest.raises(TryAgainLater, match="it is a FIFO, not a regular file"):
        client.pod("default", "web", soon)


def test_an_exec_plugin_is_asked_again_after_401(
    api: ApiServer, connect: Connect, soon: Deadline, tmp_path: Path
) -> None:
    api.create_pod("web")
    client = connect("exec")
    client.pod("default", "web", soon)
    api.access.token = "rotated"
    credential = json.loads((tmp_path / "credential.json").read_text())
    credential["status"]["token"] = "rotated"
    (tmp_path / "credential.json").write_text(json.dumps(credential))
    client.pod("default", "web", soon)


def test_an_expired_exec_credential_is_renewed(
    api: ApiServer, connect: Connect, soon: Deadline, tmp_path: Path
) -> None:
    api.create_pod("web")
    client = connect("exec")
    credential = json.loads((tmp_path / "credential.json").read_text())
    credential["status"]["expirationTimestamp"] = "2020-01-01T00:00:00Z"
    (tmp_path / "credential.json").write_text(json.dumps(credential))
    client.pod("default", "web", soon)
    (tmp_path / "credential").unlink()
    with pytest.raises(TryAgainLater, match="cannot start the credential plugin"):
        client.pod("default", "web", soon)


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        ("exit 3", 11, "failed with exit status 3"),
        ("sleep 9", 11, "did not answer in time"),
        ("echo s3cret", 7, "no usable ExecCredential"),
        ('echo \'{"status": {"clientCertificateData": "s3cret"}}\'', 7, "needs its key"),
        ("echo '{\"status\": {}}'", 7, "neither 'token' nor"),
    ],
)
def test_a_broken_exec_plugin_is_explained(
    api: ApiServer, connect: Connect, tmp_path: Path, script: str, code: int, message: str
) -> None:
    client = connect("exec")
    (tmp_path / "credential").write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises((TryAgainLater, InvalidConfig)) as caught:
        client.pod("default", "web", Deadline.after(0.5))
    assert caught.value.number == code
    assert message in caught.value.msg
    assert "s3cret" not in str(caught.value)


def test_the_credential_plugin_is_told_that_it_is_not_interactive(
    api: ApiServer, connect: Connect, soon: Deadline, tmp_path: Path
) -> None:
    api.create_pod("web")
    client = connect("exec")
    script = tmp_path / "credential"
    script.write_text(
        f'#!/bin/sh\necho "$KUBERNETES_EXEC_INFO" > {tmp_path}/info\n'
        f"cat {tmp_path}/credential.json\n"
    )
    client.pod("default", "web", soon)
    info = json.loads((tmp_path / "info").read_text())
    assert info["kind"] == "ExecCredential"
    assert info["spec"] == {"interactive": False}


def test_a_replaced_client_certificate_opens_a_new_connection(
    api: ApiServer, connect: Connect, soon: Deadline, tmp_path: Path
) -> None:
    api.create_pod("web")
    client = connect("certificate-file")
    client.pod("default", "web", soon)
    chain = (tmp_path / "client.crt").read_bytes()
    (tmp_path / "client.crt").write_bytes(chain + b"\n")
    client.pod("default", "web", soon)
    assert api.connections == 2


def test_a_server_of_another_ca_is_refused_at_once(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    import base64

    with ApiServer() as other:
        foreign = base64.b64encode(other.ca_pem).decode()
    client = connect(certificate_authority_data=foreign)
    with pytest.raises(Unreachable, match="check certificate-authority") as caught:
        client.pod("default", "web", soon)
    assert caught.value.number == 11
    assert soon.remaining() > 3.0


def test_verification_may_be_switched_off(api: ApiServer, connect: Connect, soon: Deadline) -> None:
    api.create_pod("web")
    client = connect(certificate_authority_data=None, insecure_skip_tls_verify=True)
    assert client.pod("default", "web", soon)["name"] == "web"


def test_the_certificate_is_checked_against_tls_server_name(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    api.create_pod("web")
    connect(tls_server_name="kubernetes.default.svc").pod("default", "web", soon)
    with pytest.raises(Unreachable, match="tls-server-name"):
        connect(tls_server_name="elsewhere.example").pod("default", "web", soon)


def test_an_invalid_ca_certificate_is_a_configuration_error(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    client = connect(certificate_authority_data="bm90IGEgY2VydA==")
    with pytest.raises(InvalidConfig, match="is not a PEM certificate"):
        client.pod("default", "web", soon)


def test_a_service_account_reads_its_token_again(
    api: ApiServer, soon: Deadline, tmp_path: Path
) -> None:
    api.create_pod("web")
    (tmp_path / "ca.crt").write_bytes(api.ca_pem)
    (tmp_path / "token").write_text(api.access.token)
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
    client = KubeClient(in_cluster(environ, str(tmp_path)))
    client.pod("default", "web", soon)
    api.access.token = "next"
    (tmp_path / "token").write_text("next!")
    (tmp_path / "token").write_text("next")
    client.pod("default", "web", soon)
    client.close()


def test_requests_go_through_the_proxy_of_the_kubeconfig(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    api.create_pod("web")
    with ConnectProxy() as proxy:
        client = connect(proxy_url=f"http://user:s3cret@127.0.0.1:{proxy.port}")
        client.pod("default", "web", soon)
        assert f"CONNECT 127.0.0.1:{api.port} HTTP/1." in proxy.heard
        assert "proxy-authorization: basic dxnlcjpzm2nyzxq=" in proxy.heard.lower()


def test_the_environment_names_a_proxy_and_exceptions(
    api: ApiServer, connect: Connect, soon: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.create_pod("web")
    with ConnectProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        connect().pod("default", "web", soon)
        assert "CONNECT" in proxy.heard
        proxy.heard = ""
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        connect().pod("default", "web", soon)
        assert proxy.heard == ""


def test_an_unknown_kind_of_proxy_is_refused(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    with pytest.raises(InvalidConfig, match="proxy-url must begin with"):
        connect(proxy_url="ftp://x").pod("default", "web", soon)


def test_impersonation_headers_are_sent(api: ApiServer, tmp_path: Path, soon: Deadline) -> None:
    api.create_pod("web")
    path = api.write_kubeconfig(tmp_path)
    config = json.loads(Path(path).read_text())
    config["users"][0]["user"].update({"as": "alice", "as-groups": ["a", "b"]})
    Path(path).write_text(json.dumps(config))
    access: Access = load_kubeconfig(path)
    KubeClient(access).pod("default", "web", soon)
    assert api.last_headers.get_all("Impersonate-Group") == ["a", "b"]
    assert api.last_headers["Impersonate-User"] == "alice"


class ConnectProxy:
    """An HTTP proxy that supports CONNECT, for a few connections."""

    def __enter__(self) -> ConnectProxy:
        self.heard = ""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += near.recv(4096)
            self.heard += head.decode()
            host, port = head.split()[1].decode().split(":")
            far = socket.create_connection((host, int(port)))
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while part := source.recv(65536):
            sink.sendall(part)
    except OSError:
        return
    finally:
        sink.close()
