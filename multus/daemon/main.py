"""The daemon's main function: reads settings, opens the socket, starts the template, serves."""

from __future__ import annotations

import contextlib
import gc
import glob
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

from attrs import evolve, frozen

from multus import __version__
from multus.daemon.board import Board
from multus.daemon.calls import Calls
from multus.daemon.generations import Generations
from multus.daemon.healing import Healing
from multus.daemon.leaving import Leaving
from multus.daemon.listening import listening
from multus.daemon.loop import Loop
from multus.daemon.memory import affordable, limit_of
from multus.daemon.metrics import Metrics
from multus.daemon.metricspage import MetricsPage, shown
from multus.daemon.minutes import Minutes
from multus.daemon.pageprocess import PageProcess
from multus.daemon.server import Server
from multus.daemon.settings import Limits, Settings
from multus.daemon.spool import Spool, remove_mark
from multus.daemon.state import State
from multus.daemon.systemd import Notifier, inherited_socket
from multus.log import Log

#: Limit of open files: each call needs a connection, a started delegate six pipe ends.
_DESCRIPTORS = 65536

#: The function that makes the workers' service, as ``module:function``.
SERVICE = "multus.daemon.service:main_of"


def run(path: str) -> None:
    """Serve with the settings in *path* until SIGTERM; only in the main thread.

    Raises a ``CNIError`` when the daemon cannot start.
    """
    inherited, notifier = inherited_socket(os.environ), Notifier.from_environ(os.environ)
    serve(Settings.read(path, os.environ), inherited, notifier)


def serve(
    settings: Settings,
    inherited: socket.socket | None = None,
    notifier: Notifier | None = None,
    warm: Warm | None = None,
) -> None:
    """Serve until SIGTERM, or as a *warm* engine until it is idle; raises ``CNIError``."""
    log, metrics = Log.from_conf(settings.log), Metrics()
    limits = _affordable(settings.limits, log)
    _allow_descriptors()
    with ExitStack() as stack:
        lock = warm.lock if warm else -1
        at = listening(settings.socket, inherited, log.error, settings.socket_link, lock)
        if warm is None:
            # Clients wait while plugins are loaded.
            with _ended_by_sigterm():
                listener = stack.enter_context(at)
            _remove_old_sockets(settings.socket)
        board = Board.create(limits.slots)
        stack.callback(board.close)
        loop = Loop()
        stack.callback(loop.close)
        target = warm.service if warm else SERVICE
        generations = Generations(settings, os.environ, board, loop, log, target, follow=not warm)
        stack.callback(generations.close)
        generations.start()
        if warm is not None:
            # Until now, no client has had to wait.
            listener = stack.enter_context(at)
        remove_mark(settings.cni_dir)
        spool = Spool(settings.cni_dir, log)
        calls = Calls(board, loop, listener, generations.current, spool, metrics, log, limits)
        calls.dispensable = warm is not None
        calls.healing = None if warm else Healing(log)
        calls.minutes = None if warm else Minutes(log, time.monotonic())
        generations.calls = calls
        calls.tell_looked = lambda container, looked: generations.current.tell_looked(
            container, looked
        )
        page = PageProcess(settings, log) if settings.page_address and not warm else None
        if page is not None:
            stack.callback(page.close)
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
            leaving=Leaving(settings.socket, warm.seconds) if warm else None,
            page=page,
        )
        metrics.registry.register(State(generations, calls, spool, lambda: server.sending))
        server.handle_signals()
        if settings.metrics_port:
            _show(metrics, settings, log, stack)
        # All objects so far are permanent: the garbage collector need not visit them again.
        gc.collect()
        gc.freeze()
        tell = log.verbose if warm else log.notice
        tell("serving", **_told(settings, limits))
        server.run()
        tell("stopped", socket=settings.socket)


@frozen
class Warm:
    """A warm engine: it ends after *seconds* without a call.

    *lock* is the descriptor of its lock, held already; *service* makes the workers' service.
    """

    seconds: float
    lock: int
    service: str


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """The first process of a container ignores signals without a handler."""

    def end(*_: object) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(metrics: Metrics, settings: Settings, log: Log, stack: ExitStack) -> None:
    """Serve the metrics over HTTP until *stack* is closed."""
    if not settings.metrics_address:
        fix = "set it from the field status.podIP, or give an address"
        log.error("no metrics: 'metricsAddress' is 'pod', MULTUS_POD_IP is not an address", fix=fix)
        return
    page = MetricsPage(settings.metrics_address, settings.metrics_port, metrics.text, log)
    stack.callback(page.close)
    page.start()


def _told(settings: Settings, limits: Limits) -> dict[str, object]:
    """What the daemon is, serves and follows, for its first line in the log."""
    kubernetes = "that of each configuration"
    if settings.kubeconfig:
        kubernetes = settings.kubeconfig
    elif os.environ.get("KUBERNETES_SERVICE_HOST"):
        kubernetes = "that of this pod"
    page = shown(settings.metrics_address, settings.metrics_port)
    shows = settings.metrics_port and settings.metrics_address
    return {
        "version": __version__,
        "node": settings.node,
        "socket": settings.socket,
        "settings": settings.path,
        "cniDir": settings.cni_dir,
        "workers": limits.workers,
        "kubernetes": kubernetes,
        "podChanges": "follow" if settings.follows_pods else "off",
        "healMinutes": round(settings.heal_seconds / 60),
        "runtime": settings.runtime_socket or "not asked",
        "metrics": f"http://{page}/metrics" if shows else "off",
        "page": f"http://{settings.page_address}/" if settings.page_address else "off",
    }


def _affordable(limits: Limits, log: Log) -> Limits:
    """*limits*, with the workers reduced to what fits into the cgroup's memory limit."""
    workers = affordable(limits.workers, limit_of())
    if workers < limits.workers:
        log.verbose("fewer workers, because of the memory limit", workers=workers)
    return evolve(limits, workers=workers)


def _allow_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _remove_old_sockets(path: str) -> None:
    """Remove stale sockets of API processes: we hold the lock, so their daemon is dead."""
    for old in glob.glob(f"{glob.escape(path)}.api.*"):
        with contextlib.suppress(OSError):
            os.unlink(old)
