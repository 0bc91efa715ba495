"""The daemon's life: settings, socket, spool, serving, stopping."""

from __future__ import annotations

import gc
import os
import resource
from contextlib import ExitStack

from multus.daemon.listening import listening
from multus.daemon.metrics import Metrics
from multus.daemon.node import NodeService
from multus.daemon.server import Server
from multus.daemon.settings import Settings
from multus.daemon.systemd import Notifier, inherited_socket
from multus.errors import IOFailure
from multus.log import Log

#: Each call needs a connection, and a started delegate six pipe ends.
_DESCRIPTORS = 65536


def run(path: str) -> None:
    """Serve as the settings in *path* say until SIGTERM; for the main thread.

    Raises ``multus.errors`` classes for what keeps the daemon from starting.
    """
    inherited, notifier = inherited_socket(os.environ), Notifier.from_environ(os.environ)
    settings = Settings.read(path, os.environ)
    log, metrics = Log.from_conf(settings.log), Metrics()
    _allow_descriptors()
    with ExitStack() as stack:
        listener = stack.enter_context(listening(settings.socket, inherited))
        service = NodeService(settings, os.environ, metrics, log)
        stack.callback(service.close)
        server = Server(
            listener,
            service,
            metrics,
            log,
            limits=settings.limits,
            notifier=notifier,
            shared=inherited is not None,
        )
        server.handle_signals()
        service.start()
        if settings.metrics_port:
            _show(metrics, settings.metrics_port)
        # What is there now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        log.verbose("serving", socket=settings.socket)
        server.run()
        log.verbose("stopped", socket=settings.socket)


def _allow_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _show(metrics: Metrics, port: int) -> None:
    from prometheus_client import start_http_server

    try:
        start_http_server(port, addr="127.0.0.1", registry=metrics.registry)
    except OSError as error:
        raise IOFailure(
            f"cannot show the metrics at 127.0.0.1:{port}: {error.strerror}: give 'metricsPort'"
            " another number"
        ) from error
