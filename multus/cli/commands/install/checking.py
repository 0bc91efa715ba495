"""Checks a configuration before it is installed: what every call with it would fail with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError, InvalidConfig
from multus.api.jsontext import decode_object
from multus.api.request import Request
from multus.api.session import Session
from multus.cli import lacks
from multus.cli.commands.install.configuration import NAME
from multus.cli.commands.validate.confchecks import check_configuration
from multus.cli.documents import Document
from multus.cli.findings import ERROR
from multus.cli.node import multus_part
from multus.engine import parse, resolve
from multus.engine.invoke.call import Call
from multus.engine.invoke.plan import plan
from multus.kube.kubeconfig import load_kubeconfig
from multus.log import Log
from multus.registry.known import OFFERING
from multus.registry.spelling import spelling_with

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.kubernetes import Api
    from multus.api.network import Delegate
    from multus.registry.loading import Installed


def configured(text: bytes, installed: Installed) -> Conf:
    """Multus' configuration in *text*; raises ``InvalidConfig`` with all that is wrong in it."""
    document = Document(NAME, decode_object(text, NAME))
    wrong = [e for e in check_configuration(document, installed) if e.severity == ERROR]
    if wrong:
        first = wrong[0]
        raise InvalidConfig(
            f"not installed: the configuration is invalid: {first.subject}: {first.reason}",
            "; ".join(f"{each.subject}: {each.reason}" for each in wrong[1:]),
            fix=first.fix,
        )
    found = multus_part(NAME, document.value)
    if found is None:
        raise InvalidConfig("not installed: the configuration has no plugin of type 'multus'")
    return parse.parse(found.config, spelling=spelling_with(installed.every))


def networks(
    conf: Conf, installed: Installed, bin_dir: str, api: Api | None = None
) -> Sequence[Delegate]:
    """The networks for every container; none where only the API server knows them.

    *api* replaces the API server while they are resolved.  Raises ``CNIError``.
    """
    if not _in_files(conf.raw) or not any(conf.raw.get(key) for key in OFFERING):
        return ()
    request = Request("STATUS", path=(bin_dir,))
    with Session(Log.from_conf({"logLevel": "panic"}), api) as session:
        return resolve.resolve(installed.taking_part(conf), request, conf, session).delegates


def _in_files(raw: Mapping[str, Any]) -> bool:
    """Whether all networks for every container are in files: only those can be read here."""
    more = raw.get("defaultNetworks") or ()
    names = [str(each) for each in (raw.get("clusterNetwork"), *more) if each]
    return all(each.startswith("/") for each in names)


def require_kubeconfig(conf: Conf, written: str) -> None:
    """Raise ``CNIError`` for a kubeconfig that cannot be used; *written* will be made later."""
    path = conf.raw.get("kubeconfig")
    if isinstance(path, str) and path not in ("", written):
        try:
            load_kubeconfig(path)
        except InvalidConfig as error:
            raise InvalidConfig(f"not installed: {error.said}", fix=error.fix) from error


def require_served(
    delegates: Sequence[Delegate], conf: Conf, installed: Installed, bin_dir: str, *, force: bool
) -> tuple[str, ...]:
    """Raise ``InvalidConfig`` for networks that nothing on this node can attach, unless *force*.

    Returns what else they do not find here, an interface for instance, which may appear later.
    """
    request = Request("ADD", ifname="eth0", path=(bin_dir,), dry_run=True)
    refused: list[CNIError] = []
    told: list[CNIError] = []
    with Session(Log.from_conf({"logLevel": "panic"})) as session:
        call = Call(installed.taking_part(conf), session, request, conf)
        for is_fatal, error in _lacking(delegates, call):
            (refused if is_fatal else told).append(error)
    if refused and not force:
        first = refused[0]
        raise InvalidConfig(
            f"not installed: {first.said}",
            "; ".join(each.said for each in refused[1:]),
            fix="; ".join(filter(None, (first.fix, "--force installs it all the same"))),
        )
    return tuple(dict.fromkeys(map(str, (*refused, *told))))


def _lacking(delegates: Sequence[Delegate], call: Call) -> Iterator[tuple[bool, CNIError]]:
    """What the networks do not find, and whether it is fatal: a plugin, or a valid key of it."""
    for planned in plan(delegates, call):
        name = str(planned.delegate)
        for lack in lacks.of_programs(planned, call):
            yield True, lack.error.at(name)
        for lack in lacks.of_configuration(planned, call):
            yield not lack.of_node and not lack.is_passing, lack.error.at(name)
        for lack in lacks.of_host(planned, call):
            yield False, lack.error.at(name)
