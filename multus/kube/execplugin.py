"""Credential plugins: programs that print an ``ExecCredential``.

Source: kubernetes.io, "Client authentication (v1)", and kubeconfig's ``users[].user.exec``.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from multus.api.errors import InvalidConfig, TryAgainLater
from multus.kube.proof import Certificate, Proof

if TYPE_CHECKING:
    from multus.api.kubernetes._deadline import Deadline
    from multus.kube.kubeconfig import ExecPlugin

#: How often the wait for a plugin checks whether to stop, in seconds.
_LOOK = 0.25
GROUP = "client.authentication.k8s.io/"


def run(plugin: ExecPlugin, deadline: Deadline, stop: threading.Event) -> Proof:
    """Start the plugin and read its answer, until *deadline* or *stop*.

    Its output is secret and never quoted; a failure is :class:`TryAgainLater` with the exit status,
    an unusable answer :class:`InvalidConfig`.
    """
    if not plugin.api_version.startswith(GROUP):
        raise InvalidConfig(
            f"the credential plugin {plugin.command} has apiVersion {plugin.api_version!r}",
            fix=f"write {GROUP}v1 or {GROUP}v1beta1",
        )
    try:
        # stdout of this process belongs to CNI: the plugin does not inherit it.
        started = subprocess.Popen(
            [plugin.command, *plugin.args],
            env=_environment(plugin),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with started:
            output = _output(started, deadline, stop)
    except subprocess.TimeoutExpired:
        raise TryAgainLater(
            f"the credential plugin {plugin.command} did not answer in time",
            fix="run it by hand",
        ) from None
    except OSError as error:
        hint = f"; {plugin.install_hint}" if plugin.install_hint else ""
        raise TryAgainLater(
            f"cannot start the credential plugin {plugin.command}: {error.strerror}",
            fix=f"install it or correct 'exec.command' in the kubeconfig{hint}",
        ) from error
    if started.returncode != 0:
        raise TryAgainLater(
            f"the credential plugin {plugin.command} failed with exit status {started.returncode}",
            fix="run it by hand to see why",
        )
    return _read(plugin, output)


def _environment(plugin: ExecPlugin) -> dict[str, str]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        spec["cluster"] = plugin.cluster_info
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    return {**os.environ, **dict(plugin.env), "KUBERNETES_EXEC_INFO": json.dumps(info)}


def _output(started: subprocess.Popen[bytes], deadline: Deadline, stop: threading.Event) -> bytes:
    """What it prints; it is killed when the time is over."""
    try:
        while True:
            remaining = 0.0 if stop.is_set() else deadline.remaining()
            try:
                return started.communicate(timeout=min(_LOOK, remaining))[0]
            except subprocess.TimeoutExpired:
                if not remaining:
                    raise
    except BaseException:
        started.kill()
        raise


def _read(plugin: ExecPlugin, output: bytes) -> Proof:
    problem = f"the credential plugin {plugin.command} printed no usable ExecCredential"
    try:
        status = json.loads(output)["status"]
        token = status.get("token") or ""
        chain = (status.get("clientCertificateData") or "").encode()
        key = (status.get("clientKeyData") or "").encode()
        expires = _unix_time(status.get("expirationTimestamp"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidConfig(f"{problem}: it must be JSON with an object 'status'") from None
    if bool(chain) != bool(key):
        raise InvalidConfig(
            f"{problem}: a client certificate needs its key, and a key its certificate"
        )
    if not token and not chain:
        raise InvalidConfig(f"{problem}: 'status' has neither 'token' nor 'clientCertificateData'")
    headers = (("Authorization", f"Bearer {token}"),) if token else ()
    return Proof(headers, Certificate(chain, key) if chain else None, expires)


def _unix_time(text: str | None) -> float:
    """RFC 3339 with or without fractions; Python 3.10 reads neither ``Z`` nor odd fractions."""
    if not text:
        return 0.0
    moment = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return moment.timestamp()
