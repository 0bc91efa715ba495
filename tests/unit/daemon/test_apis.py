"""Watching the API servers."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from waiting import PATIENCE, becomes

from multus.api.errors import TryAgainLater
from multus.daemon.apis import Apis
from multus.log import Log
from multus.testing.apiserver import ApiServer


def test_without_threads_a_call_fails_with_code_11_and_no_watch_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, begun = threading.Thread.start, list[threading.Thread]()
    here = threading.current_thread()

    def limited(thread: threading.Thread) -> None:
        if threading.current_thread() is here:
            if begun:
                raise RuntimeError("can't start new thread")
            begun.append(thread)
        start(thread)

    with ApiServer() as server:
        kubeconfig = server.write_kubeconfig(tmp_path)
        apis = Apis("", "n1", {}, Log.from_conf({"logToStderr": False}), lambda: False, {})
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", limited)
            with pytest.raises(TryAgainLater, match="can't start new thread"):
                apis.of(kubeconfig)
        assert list(apis) == []
        begun[0].join(PATIENCE)
        assert not begun[0].is_alive()
        followed = apis.of(kubeconfig)
        assert list(apis) == [followed]
        apis.close(1.0)


def test_one_that_never_answered_and_that_no_request_names_any_more_is_forgotten(
    tmp_path: Path,
) -> None:
    with ApiServer() as server:
        silent = server.write_kubeconfig(tmp_path)
    with ApiServer() as server:
        (tmp_path / "other").mkdir()
        answering = server.write_kubeconfig(tmp_path / "other")
        apis = Apis("", "n1", {}, Log.from_conf({"logToStderr": False}), lambda: False, {})
        apis.of(silent)
        followed = apis.of(answering)
        becomes(lambda: followed.pods.synced, True)
        apis.forget_unused(time.monotonic() + 149)
        assert len(list(apis)) == 2 and "are not known yet" in apis.not_synced()
        apis.forget_unused(time.monotonic() + 151)
        assert (list(apis), apis.not_synced()) == ([followed], "")
        assert apis.of(silent) is not followed
        apis.close(0.0)
