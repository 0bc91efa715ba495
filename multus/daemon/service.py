"""The engine in a worker: plugins are loaded before the fork, everything else is per call.

The template makes one ``Service``; each worker that it forks uses its own copy.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from multus import hookimpl
from multus.api import progress
from multus.api.errors import CNIError, IOFailure, StateDamaged
from multus.api.request import parse_args
from multus.cni import skel
from multus.cni.confs import Confs
from multus.cni.shim import Answer
from multus.daemon.preload import preload
from multus.daemon.remote import RemoteApi
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import Installed, load, log_faults, relevant_keys
from multus.registry.spelling import spelling_with

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.kubernetes import Resource
    from multus.api.network import Outcome
    from multus.api.spelling import Spelling
    from multus.daemon.board import Board
    from multus.daemon.connection import Connection
    from multus.daemon.settings import Settings
    from multus.registry.hooks import Hooks

_MOST_LOGS = 16
_MOST_PARTS = 64
_WORTH_REPORTING = 0.001

#: How a request came over HTTP: the path, and the ``interfaceAttributes``.
Way = tuple[str, Mapping[str, Any]]

#: What decides which plugins take part: the blocked plugins, and the keys in the configuration.
_Parts = tuple[frozenset[str], frozenset[str] | None]


class Report:
    """The report on one call for the supervisor: times of its stages, delegates and plugins."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, str, float]] = []
        self.delegates: list[tuple[str, str, float]] = []
        self.plugins: list[tuple[str, str, float]] = []
        self.journal_errors = 0
        self.cni_dir = ""

    def to_wire(self) -> dict[str, Any]:
        return vars(self)


class Observer:
    """The daemon's own observer: it adds the outcome of every request to the report."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @hookimpl
    def multus_finished(self, outcome: Outcome) -> None:
        """Report the stages' times, and whether a record could not be read or written."""
        report = self._service.report
        report.stages += [(outcome.command, each, s) for each, s in outcome.stages.items()]
        report.journal_errors += isinstance(outcome.error, (IOFailure, StateDamaged))


class Service:
    """Carries out calls, one at a time."""

    def __init__(self, settings: Settings, log: Log, api_path: str, board: Board) -> None:
        self.log = log
        self._board = board
        self.report = Report()
        self._settings = settings
        self._api_path = api_path
        self._apis: dict[str, RemoteApi] = {}
        self._installed: dict[_Parts, Installed] = {}
        self._logs: OrderedDict[str, Log] = OrderedDict()
        self._confs = Confs()
        self._entries = discover()
        self._spelling = spelling_with(self._entries)
        self._conditions = frozenset(key for each in self._entries for key in each.only_with)
        installed = self._every = load(self._entries)
        preload(installed.modules.values())
        # Plugins that read Kubernetes objects would import this in the first call.
        if any("kubeconfig" in each.reads for each in installed.loaded):
            import multus.kube.client
            import multus.kube.writequeue  # noqa: F401

    @property
    def outdated(self) -> bool:
        """Whether to carry no call out; a daemon's reload is its administrator's decision."""
        return False

    def leaves(self, client: Connection) -> bool:
        """Whether to leave the call of *client* to it; a daemon's client relies on its daemon."""
        return False

    def answer(
        self,
        environ: Mapping[str, str],
        stdin: bytes,
        deadline: float,
        way: Way | None = None,
    ) -> Answer:
        """Carry out a CNI call, which came by *way*."""
        with self.serving(environ):
            if way is not None:
                return self._over_http(environ, stdin, deadline, way)
            return self._call(environ, stdin, deadline)

    def _over_http(
        self, environ: Mapping[str, str], stdin: bytes, deadline: float, way: Way
    ) -> Answer:
        from multus.daemon import overhttp

        path, attributes = way
        if path == overhttp.DELEGATE:
            from multus.daemon import delegate

            asked = delegate.Asked(environ, stdin, attributes, self._settings.cni_dir)
            engine_for = partial(self._engine_for, environ.get("CNI_COMMAND", ""))
            return delegate.answer(asked, engine_for, deadline)
        try:
            stdin = overhttp.as_ours(environ, stdin, self._settings.kubeconfig)
        except CNIError as error:
            self.log.error(f"{environ.get('CNI_COMMAND')} over HTTP", error=error)
            return skel.failed(error, stdin)
        return self._call(environ, stdin, deadline)

    def _call(self, environ: Mapping[str, str], stdin: bytes, deadline: float) -> Answer:
        if environ.get("CNI_COMMAND") == "ADD" and b'"kubeconfig"' in stdin:
            self._expect_pod(environ)
        engine_for = partial(self._engine_for, environ.get("CNI_COMMAND", ""))
        return skel.answer(
            environ, stdin, engine_for, deadline, self._confs, spelling=self._spelled
        )

    @contextlib.contextmanager
    def serving(self, environ: Mapping[str, str]) -> Iterator[None]:
        """The surroundings of a call with the caller's *environ*.

        Reports the plugins' times of a millisecond or more; most hooks take much less.
        """
        with progress.timed() as times:
            try:
                yield
            finally:
                self.report.plugins += [
                    (*each.task, each.seconds)
                    for each in times.spent
                    if each.seconds >= _WORTH_REPORTING
                ]

    def _expect_pod(self, environ: Mapping[str, str]) -> None:
        """Request this call's pod in advance, from the API server that the last call used."""
        with contextlib.suppress(ValueError):
            args = parse_args(environ.get("CNI_ARGS", ""))
            namespace, name = args.get("K8S_POD_NAMESPACE"), args.get("K8S_POD_NAME")
            for api in self._apis.values():
                if namespace and name:
                    api.expect(namespace, name, args.get("K8S_POD_UID", ""))

    def recover(
        self,
        environ: Mapping[str, str],
        stdin: bytes,
        deadline: float,
        way: Way | None = None,
    ) -> Answer:
        """Undo an ADD or DEL whose worker was lost."""
        with self.serving(environ):
            engine_for = partial(self._engine_for, "DEL")
            if way is not None and way[0] != "/cni":
                from multus.daemon import delegate

                asked = delegate.Asked(environ, stdin, way[1], self._settings.cni_dir)
                return delegate.recover(asked, engine_for, deadline)
            return skel.recover(environ, stdin, engine_for, deadline, self._spelled)

    def look(self, asked: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        """Look at a running container, as the API process asked for it; never raises."""
        from multus.daemon import looking

        with self.serving({}):
            engine_for = partial(self._engine_for, "ADD")
            return looking.look(asked, engine_for, deadline, follows=self._settings.follows_pods)

    def _spelled(self) -> Spelling:
        return self._spelling

    def heal(self, folders: Sequence[str], grace: float, skip: Sequence[str]) -> dict[str, Any]:
        """Remove some of what containers that are gone have left; ``multus.healing.rounds``."""
        from multus.healing.look import Places
        from multus.healing.rounds import heal

        places = Places(folders, cri=self._settings.runtime_socket)
        with self.serving({}):
            part = heal(places, grace, skip, partial(self._engine_for, "DEL"), self.log)
        return part.to_wire()

    def begin(self) -> None:
        """Start a new report."""
        self.report = Report()

    @property
    def broken(self) -> dict[str, str]:
        """The plugins that cannot be loaded or that clash, each with the reason."""
        found = {
            f"{each.entry.name} of {each.entry.distribution}": str(each)
            for each in self._every.broken
        }
        return {**found, **{str(each): f"{each}: {each.fix}" for each in self._every.clashes}}

    @property
    def hooks(self) -> Hooks:
        """The hooks of all installed plugins."""
        return self._every.hooks

    @property
    def cached(self) -> dict[Resource, tuple[str | tuple[str, ...], ...]]:
        """The kinds of Kubernetes objects to cache for plugins, and the parts that they read."""
        found: dict[Resource, tuple[str | tuple[str, ...], ...]] = {}
        for use in self._every.hooks.kubernetes():
            if use.cached:
                known = found.get(use.resource, ())
                found[use.resource] = tuple(dict.fromkeys((*known, *use.cached)))
        return found

    def log_faults(self) -> None:
        """Log errors and warnings about the installed plugins."""
        from multus.registry.warnings import warnings_of

        log_faults(self._every, self.log)
        for each in warnings_of(self._every):
            self.log.error(f"probably a mistake: {each}: {each.fix}")

    def _taking_part(self, command: str, conf: Conf) -> Installed:
        """The plugins that take part in *command*: the ones that ``multus.__main__`` would load.

        They are imported already: the first time, this costs the registration of their hooks.
        """
        keys = relevant_keys(command, conf)
        parts = conf.blocked_plugins, None if keys is None else keys & self._conditions
        known = self._installed.get(parts)
        if known is None:
            if len(self._installed) >= _MOST_PARTS:
                self._installed.clear()
            known = self._installed[parts] = load(self._entries, *parts)
            known.hooks.manager.register(Observer(self), name="multus-daemon")
        return known

    def _engine_for(self, command: str, conf: Conf, deadline: float | None = None) -> Engine:
        if conf.cni_dir != self._settings.cni_dir:
            self.report.cni_dir = conf.cni_dir
        return Engine(
            self._taking_part(command, conf),
            self._log_for(conf.raw),
            api=self._api_of(conf.raw.get("kubeconfig")),
            chroot=self._settings.chroot,
            meter=self._took,
            deadline=deadline,
        )

    def _took(self, verb: str, kind: str, seconds: float) -> None:
        self.report.delegates.append((verb, kind, seconds))

    def _api_of(self, kubeconfig: object) -> RemoteApi | None:
        """The API for a configuration with this value of ``kubeconfig``; None when it has none."""
        if not isinstance(kubeconfig, str) or not kubeconfig:
            return None
        kubeconfig = os.path.abspath(kubeconfig)
        known = self._apis.get(kubeconfig)
        if known is None:
            self._apis.clear()  # a node has one API server: close the connection to another one
            settings = self._settings
            known = RemoteApi(
                self._api_path,
                kubeconfig,
                settings.node,
                settings.kubeconfig,
                self._board,
                settings.cni_dir,
            )
            self._apis[kubeconfig] = known
        return known

    def _log_for(self, raw: Mapping[str, Any]) -> Log:
        """One log for all requests with the same log keys; it keeps its file open."""
        keys = {key: value for key, value in raw.items() if key.startswith("log")}
        if not keys:
            return self.log
        name = json.dumps(keys, sort_keys=True)
        known = self._logs.get(name)
        if known is None:
            known = self._logs[name] = Log.from_conf(keys)
            if len(self._logs) > _MOST_LOGS:
                self._logs.popitem(last=False)[1].close()
        self._logs.move_to_end(name)
        return known


def main_of(settings: Settings, log: Log, api_path: str, board: Board) -> Service:
    """The service of a daemon with these *settings*; logs faults of the plugins."""
    if settings.certificate is not None:
        settings.certificate.prepare()
    service = Service(settings, log, api_path, board)
    service.log_faults()
    return service
