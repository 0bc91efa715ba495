"""The credentials of a request, as headers and a client certificate, renewed when they expire."""

from __future__ import annotations

import base64
import threading
import time
from typing import TYPE_CHECKING

from multus.api.errors import TryAgainLater
from multus.kube.proof import Certificate, Proof
from multus.kube.watched import WatchedFile

if TYPE_CHECKING:
    from multus.api.kubernetes._deadline import Deadline
    from multus.kube.kubeconfig import Pem, User


class Credentials:
    """The proof of one user of a kubeconfig; safe to use from several threads.

    *stop* ends the wait for a credential plugin.
    """

    def __init__(self, user: User, stop: threading.Event) -> None:
        self._user = user
        self._stop = stop
        self._token_file = WatchedFile(user.token_file, "token file") if user.token_file else None
        self._chain = _Material(user.certificate, "client certificate")
        self._key = _Material(user.key, "client key")
        self._from_exec: Proof | None = None
        self._lock = threading.Lock()

    def current(self, deadline: Deadline) -> Proof:
        """The proof for a request that starts now."""
        # Another thread may wait for a credential plugin.
        free = self._lock.acquire(blocking=False)
        if not free and not self._lock.acquire(timeout=deadline.remaining()):
            raise TryAgainLater(
                "the credential plugin of the kubeconfig did not answer in time",
                fix="run it by hand",
            )
        try:
            given = self._given()
            if self._user.exec_plugin is None or given.headers:
                return self._impersonating(given)
            return self._impersonating(self._executed(given, deadline))
        finally:
            self._lock.release()

    def refused(self) -> bool:
        """After a 401: forget what may be out of date; True when a repetition may succeed."""
        with self._lock:
            self._from_exec = None
            if self._token_file:
                self._token_file.forget()
            return self._token_file is not None or self._user.exec_plugin is not None

    def _given(self) -> Proof:
        """What the kubeconfig itself gives: a file's token goes before an inline one."""
        user, chain = self._user, self._chain.read()
        # One file with both may be replaced between two looks.
        key = chain if user.key == user.certificate else self._key.read()
        certificate = Certificate(chain, key) if chain else None
        token = user.token
        if self._token_file:
            token = self._token_file.read().decode("ascii", "replace").strip()
        if token:
            return Proof((("Authorization", f"Bearer {token}"),), certificate)
        if user.username:
            pair = base64.b64encode(f"{user.username}:{user.password}".encode()).decode()
            return Proof((("Authorization", f"Basic {pair}"),), certificate)
        return Proof((), certificate)

    def _executed(self, given: Proof, deadline: Deadline) -> Proof:
        known = self._from_exec
        if known is None or (known.expires and known.expires <= time.time()):
            # Few kubeconfigs have a plugin, and subprocess is slow to import.
            from multus.kube.execplugin import run

            assert self._user.exec_plugin is not None
            known = self._from_exec = run(self._user.exec_plugin, deadline, self._stop)
        return Proof(known.headers, known.certificate or given.certificate, known.expires)

    def _impersonating(self, proof: Proof) -> Proof:
        if not self._user.impersonate:
            return proof
        return Proof(proof.headers + self._user.impersonate, proof.certificate, proof.expires)


class _Material:
    """PEM text, inline or from a file that may be rotated."""

    def __init__(self, pem: Pem, what: str) -> None:
        self._data = pem.data
        self._file = WatchedFile(pem.path, what) if pem.path and not pem.data else None

    def read(self) -> bytes:
        return self._file.read() if self._file else self._data
