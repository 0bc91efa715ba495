"""The node's service: the engine with plugins loaded once, caches, and the spool."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen
from prometheus_client.core import GaugeMetricFamily, Metric

from multus import skel
from multus.daemon.apis import Apis
from multus.daemon.confs import Confs
from multus.daemon.metrics import Metrics
from multus.daemon.observer import Observer
from multus.daemon.spool import Spool
from multus.errors import IOFailure
from multus.log import Log
from multus.pipeline import Engine
from multus.plugins import Installed, discover, load
from multus.shim import MARK, Answer

if TYPE_CHECKING:
    from multus.daemon.settings import Settings
    from multus.model.conf import Conf

_MOST_LOGS = 16
_HOUSEKEEPING_SECONDS = 1.0
#: How long the socket waits for DELs that came while no daemon ran.
_REPLAY_SECONDS = 10.0


@frozen
class _Loaded:
    """What is read at start and when the daemon is told to reload; exchanged as a whole."""

    apis: Apis
    installed: dict[frozenset[str], Installed]
    chroot: str


class NodeService:
    """What the daemon serves; see ``multus.daemon.calls.Service``."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], metrics: Metrics, log: Log
    ) -> None:
        self._environ = dict(environ)
        self._metrics = metrics
        self._log = log
        self._settings = settings
        self._lock = threading.Lock()
        self._logs: dict[str, Log] = {}
        self._confs = Confs()
        self._spool = Spool(settings.cni_dir, self._answer, metrics, log)
        self._closing = threading.Event()
        self._housekeeper = threading.Thread(target=self._keep_house, name="housekeeper")
        self._loaded = self._load(settings)
        metrics.registry.register(_Caches(self))

    def start(self) -> None:
        """Carry out what waits, for some seconds; the rest while calls are served."""
        self._leave_mark()
        self._spool.replay(time.monotonic() + _REPLAY_SECONDS)
        self._housekeeper.start()

    def close(self) -> None:
        """Stop all threads."""
        self._closing.set()
        if self._housekeeper.ident is not None:
            self._housekeeper.join()
        self._loaded.apis.close()

    @property
    def apis(self) -> Apis:
        """The API servers that are followed."""
        return self._loaded.apis

    @property
    def spool(self) -> Spool:
        """DELs that wait."""
        return self._spool

    @property
    def cni_dir(self) -> str:
        """Where records are."""
        return self._settings.cni_dir

    # --- The service -----------------------------------------------------------------------------

    def handle(self, environ: Mapping[str, str], stdin: bytes, deadline: float) -> Answer:
        """Carry a call out, after what waits in the spool for its container."""
        container_id = environ.get("CNI_CONTAINERID")
        if container_id:
            self._spool.replay_of(container_id)
        return self._answer(environ, stdin, deadline)

    def not_ready(self) -> str:
        """Why calls would be served slowly, if at all."""
        return self._loaded.apis.not_synced()

    def reload(self) -> None:
        """Read the settings again, look for plugins again, follow the API server anew."""
        from multus.daemon.settings import Settings

        settings = Settings.read(self._settings.path, self._environ)
        before, self._loaded = self._loaded, self._load(settings)
        with self._lock:
            self._logs.clear()
        self._log.level = Log.from_conf(settings.log).level
        self._log.verbose("reloaded", config=settings.path)
        before.apis.close()

    def _answer(self, environ: Mapping[str, str], stdin: bytes, deadline: float) -> Answer:
        return skel.answer(environ, stdin, self._engine_for, deadline, self._confs)

    def _engine_for(self, conf: Conf) -> Engine:
        loaded = self._loaded
        return Engine(
            self._installed(loaded, conf.blocked_plugins),
            self._log_for(conf.raw),
            api=loaded.apis.of(conf.raw.get("kubeconfig")),
            chroot=loaded.chroot,
            meter=self._metrics.delegate,
        )

    # --- What is kept ----------------------------------------------------------------------------

    def _load(self, settings: Settings) -> _Loaded:
        busy = self._metrics.busy
        apis = Apis(settings.kubeconfig, settings.node, self._environ, self._log, busy)
        loaded = _Loaded(apis, {}, settings.chroot)
        for broken in self._installed(loaded, frozenset()).broken:
            self._log.error(f"not loaded: {broken}")
        return loaded

    def _installed(self, loaded: _Loaded, blocked: frozenset[str]) -> Installed:
        known = loaded.installed.get(blocked)
        if known is None:
            with self._lock:
                known = load(discover(), blocked)
                known.hooks.manager.register(Observer(self._metrics), name="multus-daemon")
                loaded.installed[blocked] = known
        return known

    def _log_for(self, raw: Mapping[str, Any]) -> Log:
        """One log for all requests with the same log keys: it keeps its file open."""
        keys = {key: value for key, value in raw.items() if key.startswith("log")}
        if not keys:
            return self._log
        name = json.dumps(keys, sort_keys=True)
        with self._lock:
            known = self._logs.get(name)
            if known is None:
                if len(self._logs) >= _MOST_LOGS:
                    self._logs.clear()
                known = self._logs[name] = Log.from_conf(keys)
        return known

    def _leave_mark(self) -> None:
        """Let shims know, also after a reboot, that this node has a daemon to wait for."""
        path = os.path.join(self._settings.cni_dir, os.fsdecode(MARK))
        try:
            os.makedirs(self._settings.cni_dir, mode=0o700, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise IOFailure(f"cannot write {path}: {error.strerror}") from error

    def _keep_house(self) -> None:
        while not self._closing.wait(_HOUSEKEEPING_SECONDS):
            self._spool.replay(time.monotonic() + _REPLAY_SECONDS)


class _Caches:
    """What is known only when somebody asks: caches, outbox, spool, records."""

    def __init__(self, service: NodeService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service = self._service
        age = GaugeMetricFamily(
            "multus_cache_age_seconds", "Since the API server was heard of", labels=["cache"]
        )
        objects = GaugeMetricFamily("multus_cache_objects", "What is known", labels=["cache"])
        synced = GaugeMetricFamily("multus_cache_synced", "1: complete", labels=["cache"])
        letters = 0
        for api in service.apis:
            letters += len(api.outbox)
            for state in api.states():
                age.add_metric([state.what], state.age)
                objects.add_metric([state.what], state.objects)
                synced.add_metric([state.what], float(state.synced))
        yield from (age, objects, synced)
        yield _gauge("multus_outbox_letters", "Statuses and events not written yet", letters)
        yield _gauge("multus_spool_files", "DELs that wait", len(service.spool.waiting()))
        yield _gauge("multus_attachments", "Records of containers", _records(service.cni_dir))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _records(folder: str) -> int:
    """How many ``<container>:<interface>`` files there are."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return 0
    return sum(":" in name and name[0].isalnum() for name in names)
