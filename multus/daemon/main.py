"""The daemon's life: settings, socket, template, serving, stopping."""

from __future__ import annotations

import contextlib
import gc
import glob
import os
import resource
from contextlib import ExitStack

from attrs import evolve

from multus.api.errors import IOFailure
from multus.cni.shim import MARK
from multus.daemon.board import Board
from multus.daemon.calls import Calls
from multus.daemon.generations import Generations
from multus.daemon.listening import listening
from multus.daemon.loop import Loop
from multus.daemon.memory import affordable, limit_of
from multus.daemon.metrics import Metrics
from multus.daemon.page import MetricsPage
from multus.daemon.server import Server
from multus.daemon.settings import Limits, Settings
from multus.daemon.spool import Spool
from multus.daemon.state import State
from multus.daemon.systemd import Notifier, inherited_socket
from multus.log import Log

#: Each call needs a connection, and a started delegate six pipe ends.
_DESCRIPTORS = 65536

#: What makes the service of the workers, as ``module:function``.
SERVICE = "multus.daemon.service:main_of"


def run(path: str) -> None:
    """Serve as the settings in *path* say until SIGTERM; for the main thread.

    Raises ``multus.api.errors`` classes for what keeps the daemon from starting.
    """
    inherited, notifier = inherited_socket(os.environ), Notifier.from_environ(os.environ)
    settings = Settings.read(path, os.environ)
    log, metrics = Log.from_conf(settings.log), Metrics()
    limits = _affordable(settings.limits, log)
    _allow_descriptors()
    with ExitStack() as stack:
        listener = stack.enter_context(listening(settings.socket, inherited))
        _remove_old_sockets(settings.socket)
        board = Board.create(limits.slots)
        stack.callback(board.close)
        loop = Loop()
        stack.callback(loop.close)
        generations = Generations(settings, os.environ, board, loop, log, SERVICE)
        stack.callback(generations.close)
        generations.start()
        _leave_mark(settings.cni_dir)
        spool = Spool(settings.cni_dir, log)
        calls = Calls(board, loop, listener, generations.current, spool, metrics, log, limits)
        generations.calls = calls
        server = Server(
            listener,
            loop,
            calls,
            generations,
            metrics,
            log,
            limits=limits,
            notifier=notifier,
            shared=inherited is not None,
        )
        metrics.registry.register(State(generations, calls, spool, lambda: server.sending))
        server.handle_signals()
        if settings.metrics_port:
            page = MetricsPage(settings.metrics_port, metrics.text)
            stack.callback(page.close)
            page.start()
        # What is there now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        log.verbose("serving", socket=settings.socket)
        server.run()
        log.verbose("stopped", socket=settings.socket)


def _affordable(limits: Limits, log: Log) -> Limits:
    """The limits with as many workers as fit into the memory that this daemon may have."""
    workers = affordable(limits.workers, limit_of())
    if workers < limits.workers:
        log.verbose("fewer workers, for the memory limit", workers=workers)
    return evolve(limits, workers=workers)


def _allow_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _remove_old_sockets(path: str) -> None:
    """Remove the sockets of API processes whose daemon was killed; its lock is ours now."""
    for old in glob.glob(f"{glob.escape(path)}.api.*"):
        with contextlib.suppress(OSError):
            os.unlink(old)


def _leave_mark(cni_dir: str) -> None:
    """Let shims know, also after a reboot, that this node has a daemon to wait for."""
    path = os.path.join(cni_dir, os.fsdecode(MARK))
    try:
        os.makedirs(cni_dir, mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise IOFailure(f"cannot write {path}: {error.strerror}") from error
