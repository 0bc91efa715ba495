"""The CNI front: an environment and stdin in, an exit status and stdout out.

This module is what every call pays for, so it imports nothing at its top that VERSION or an error
in the environment has no use for.

Source: CNI specification 1.1.0, sections 2 "Execution Protocol" and 5 "Result Types".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from multus.errors import BadEnvironment, CNIError, IncompatibleVersion, described
from multus.model.versions import NEWEST, SUPPORTED, at_least

if TYPE_CHECKING:
    from multus.daemon.confs import Confs
    from multus.model.conf import Conf
    from multus.model.request import Request
    from multus.pipeline import Engine

#: Makes the engine that a configuration asks for: with its log, without its blocked plugins.
EngineFor = Callable[["Conf"], "Engine"]

#: Which variables each command needs.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"),
    "GC": ("CNI_PATH",),
    "STATUS": ("CNI_PATH",),
    "VERSION": (),
}

#: From which version of the configuration on a command exists.
_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


def answer(
    environ: Mapping[str, str],
    stdin: bytes,
    engine_for: EngineFor,
    deadline: float | None = None,
    confs: Confs | None = None,
) -> tuple[int, bytes]:
    """Carry one call out: ``(exit status, stdout)``.

    *deadline* is the ``time.monotonic()`` moment by which the caller wants the answer; *confs*
    spares a daemon reading the same configuration for every pod.  Never raises: whatever goes
    wrong is an error object on stdout and status 1.
    """
    version = NEWEST
    try:
        command = _command(environ)
        known = confs.recall(stdin) if confs is not None and command == "ADD" else None
        raw = known.raw if known is not None else _decode(stdin, command)
        offered = raw.get("cniVersion")
        version = offered if offered in SUPPORTED else version
        if command == "VERSION":
            return 0, _line({"cniVersion": version, "supportedVersions": list(SUPPORTED)})
        if known is None:
            from multus.stages.parse import parse

            known = parse(raw, command)
            if confs is not None and command == "ADD":
                confs.keep(stdin, known)
        return 0, _carry_out(command, environ, known, engine_for, deadline)
    except CNIError as error:
        if error.number == CNIError.code:
            _log_traceback(error, stdin)
        return 1, _line(error.to_wire(version))
    except (Exception, SystemExit) as error:  # noqa: BLE001  a runtime gets an error object, always
        wrapped = CNIError(
            f"internal error: {described(error)}: please report it, with the log",
        )
        _log_traceback(error, stdin)
        return 1, _line(wrapped.to_wire(version))


def _carry_out(
    command: str,
    environ: Mapping[str, str],
    conf: Conf,
    engine_for: EngineFor,
    deadline: float | None,
) -> bytes:
    since = _SINCE.get(command)
    if since and not at_least(conf.cni_version, since):
        raise IncompatibleVersion(
            f"{command} needs cniVersion {since} or newer, configuration {conf.name!r} has"
            f" {conf.cni_version}: raise it, or do not call {command}"
        )
    request = _request(command, environ, deadline)
    engine = engine_for(conf)
    request = engine.equipped(request)
    if command == "ADD":
        return _line(engine.add(request, conf).to_wire(conf.cni_version))
    verbs = {
        "DEL": engine.delete,
        "CHECK": engine.check,
        "STATUS": engine.status,
        "GC": engine.collect_garbage,
    }
    verbs[command](request, conf)
    return b""


def _command(environ: Mapping[str, str]) -> str:
    command = environ.get("CNI_COMMAND", "")
    if command not in _NEEDED:
        raise BadEnvironment(
            f"unknown CNI_COMMAND: {command}: use one of {', '.join(sorted(_NEEDED))}"
        )
    missing = [name for name in _NEEDED[command] if not environ.get(name)]
    if missing:
        raise BadEnvironment(f"required env variables [{','.join(missing)}] missing")
    return command


def _decode(stdin: bytes, command: str) -> Mapping[str, Any]:
    # libcni sends VERSION a configuration, people and old runtimes send nothing.
    if command == "VERSION" and not stdin.strip():
        return {}
    from multus.jsontext import decode_object

    return decode_object(stdin, "the network configuration on stdin")


def _request(command: str, environ: Mapping[str, str], deadline: float | None) -> Request:
    from multus.model.names import interface_problem, is_identifier, unnameable
    from multus.model.request import Request, parse_args

    container_id, ifname = environ.get("CNI_CONTAINERID", ""), environ.get("CNI_IFNAME", "")
    if "CNI_CONTAINERID" in _NEEDED[command]:
        if not is_identifier(container_id):
            raise BadEnvironment(
                f"invalid CNI_CONTAINERID {container_id!r}: use letters, digits, '_', '.', '-'"
            )
        problem = interface_problem(ifname) if command == "ADD" else unnameable(ifname)
        if problem:
            raise BadEnvironment(f"invalid CNI_IFNAME {ifname!r}: it {problem}")
    try:
        args = parse_args(environ.get("CNI_ARGS", ""))
    except ValueError as error:
        raise BadEnvironment(f"invalid CNI_ARGS: {error}") from error
    path = tuple(folder for folder in environ.get("CNI_PATH", "").split(":") if folder)
    relative = next((folder for folder in path if not folder.startswith("/")), None)
    if relative is not None:
        raise BadEnvironment(f"invalid CNI_PATH: {relative!r} is not an absolute path")
    return Request(
        command=command,
        container_id=container_id,
        netns=environ.get("CNI_NETNS", ""),
        ifname=ifname,
        path=path,
        args=args,
        environ=dict(environ),
        deadline=deadline,
    )


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _log_traceback(error: BaseException, stdin: bytes) -> None:
    from multus.log import Log

    try:
        conf = json.loads(stdin)
    except (ValueError, RecursionError):
        conf = {}
    log = Log.from_conf(conf if isinstance(conf, dict) else {})
    log.error("somebody's mistake, not the configuration's", error=error)
