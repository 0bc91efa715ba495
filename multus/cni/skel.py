"""The CNI protocol: from environment and stdin to exit status and stdout.

Every call imports this module, so its top imports only what VERSION, or an error in the
environment, needs.

Source: CNI specification 1.1.0, sections 2 "Execution Protocol" and 5 "Result Types".
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from multus.api import progress
from multus.api.errors import (
    BadEnvironment,
    CNIError,
    IncompatibleVersion,
    Interrupted,
    InvalidConfig,
    TryAgainLater,
    described,
    failure,
)
from multus.api.progress import Overdue
from multus.api.versions import NEWEST, SUPPORTED, at_least

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.request import Request
    from multus.api.spelling import Spelling
    from multus.cni.confs import Confs
    from multus.engine.pipeline import Engine
    from multus.log import Log

#: Makes the engine for a configuration (with its log, without its blocked plugins) and the caller's
#: deadline, a ``time.monotonic()`` time or None.
EngineFor = Callable[["Conf", "float | None"], "Engine"]

#: The variables that each command needs.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"),
    "GC": ("CNI_PATH",),
    "STATUS": ("CNI_PATH",),
    "VERSION": (),
}

#: The first ``cniVersion`` that has the command.
_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}


def answer(
    environ: Mapping[str, str],
    stdin: bytes,
    engine_for: EngineFor,
    deadline: float | None = None,
    confs: Confs | None = None,
    deleting: Callable[[Engine, Request, Conf], None] | None = None,
    spelling: Callable[[], Spelling] | None = None,
) -> tuple[int, bytes]:
    """Carry out one call: ``(exit status, stdout)``.

    *deadline* is the caller's, a ``time.monotonic()`` time.  *confs* is a daemon's cache of parsed
    and validated configurations.  *deleting* replaces the engine's DEL.  *spelling* gives the names
    of the configuration's keys, those of plugins included; without it, only the core's.  Never
    raises: a failure becomes an error object and status 1.  It is logged: by the engine, or here
    when the call did not reach an engine.
    """
    version = NEWEST
    reached: list[Engine] = []

    def reaching(conf: Conf, deadline: float | None) -> Engine:
        reached.append(engine_for(conf, deadline))
        return reached[0]

    try:
        command = _command(environ)
        if "MULTUS_WITHIN" in environ and command != "VERSION":
            return _within(command)
        known = confs.recall(stdin) if confs is not None and command == "ADD" else None
        raw = known.raw if known is not None else _decode(stdin, command)
        offered = raw.get("cniVersion")
        version = offered if offered in SUPPORTED else version
        if command == "VERSION":
            return 0, _line({"cniVersion": version, "supportedVersions": list(SUPPORTED)})
        validated = known is not None
        if known is None:
            from multus.engine.parse import parse

            known = parse(raw, command) if spelling is None else parse(raw, command, spelling())
        said = _carry_out(
            command, environ, known, reaching, deadline, deleting, validated=validated
        )
        if confs is not None and command == "ADD" and not validated:
            confs.keep(stdin, known)
        return 0, said
    except BaseException as error:  # noqa: BLE001  the runtime must get an error object
        if isinstance(error, CNIError) and not reached:
            _log_refusal(error, environ, stdin)
        return failed(error, stdin, version)


def failed(error: BaseException, stdin: bytes, version: str = NEWEST) -> tuple[int, bytes]:
    """The answer of a call with the configuration *stdin* that ended in *error*."""
    if isinstance(error, CNIError):
        told = error
    elif isinstance(error, Overdue):
        told = TryAgainLater(str(error), fix="see the log for what is slow")
    elif isinstance(error, Interrupted):
        told = failure("the call", error)
    else:
        told = CNIError(
            f"internal error: {described(error)}",
            fix="please report it, with the log",
        )
        _log_traceback(error, stdin)
    return 1, _line(told.to_wire(version))


@contextmanager
def exits_answered(stdin: bytes, write: Callable[[bytes], object]) -> Iterator[None]:
    """Write an error with *write* when a plugin ends this process by ``os._exit``.

    Without it, a DEL would seem to have succeeded.  For a process that carries out one call.
    """
    process, leave = os.getpid(), os._exit

    def ended(status: int) -> NoReturn:
        if os.getpid() == process:  # otherwise a plugin has forked this process
            step = progress.current()
            place = "a plugin" if step is None else step.what
            error = CNIError(
                f"{place}, ended the process by os._exit",
                fix="report it to its author",
            )
            log_of(stdin).error(str(error), traceback=_stack())
            write(_line(error.to_wire(NEWEST)))
            status = 1
        leave(status)

    setattr(os, "_exit", ended)  # noqa: B010  a type checker forbids the plain assignment
    try:
        yield
    finally:
        setattr(os, "_exit", leave)  # noqa: B010


def recover(
    environ: Mapping[str, str],
    stdin: bytes,
    engine_for: EngineFor,
    deadline: float | None,
    spelling: Callable[[], Spelling] | None = None,
) -> tuple[int, bytes]:
    """Undo an ADD or DEL that was cut off, given its environment and stdin.

    Does nothing for a container that has all its networks.  Returns the same as ``answer``.
    """

    def undo(engine: Engine, request: Request, conf: Conf) -> None:
        engine.recover(request, conf)

    asked = {**environ, "CNI_COMMAND": "DEL"}
    return answer(asked, stdin, engine_for, deadline, deleting=undo, spelling=spelling)


def _carry_out(
    command: str,
    environ: Mapping[str, str],
    conf: Conf,
    engine_for: EngineFor,
    deadline: float | None,
    deleting: Callable[[Engine, Request, Conf], None] | None,
    *,
    validated: bool,
) -> bytes:
    since = _SINCE.get(command)
    if since and not at_least(conf.cni_version, since):
        raise IncompatibleVersion(
            f"{command} needs cniVersion {since} or newer, configuration {conf.name!r} has"
            f" {conf.cni_version}",
            fix=f"raise it, or do not call {command}",
        )
    request = request_of(command, environ)
    engine = engine_for(conf, deadline)
    if command == "ADD":
        return _line(engine.add(request, conf, validated=validated).to_wire(conf.cni_version))
    if command == "DEL" and deleting is not None:
        deleting(engine, request, conf)
        return b""
    verbs = {
        "DEL": engine.delete,
        "CHECK": engine.check,
        "STATUS": engine.status,
        "GC": engine.collect_garbage,
    }
    verbs[command](request, conf)
    return b""


def _within(command: str) -> tuple[int, bytes]:
    """The answer to a call that comes from a plugin which Multus itself started.

    It would wait for the lock that the outer call holds.  There is nothing of its own to remove.
    """
    if command in ("DEL", "GC"):
        return 0, b""
    raise InvalidConfig(
        "a network's plugin started Multus again: Multus would call itself",
        fix="name the plugin that attaches the network",
    )


def _command(environ: Mapping[str, str]) -> str:
    command = environ.get("CNI_COMMAND", "")
    if command not in _NEEDED:
        raise BadEnvironment(
            # The same text as in the shims, which cannot escape the client's value.
            "unknown CNI_COMMAND",
            fix=f"use one of {', '.join(sorted(_NEEDED))}",
        )
    missing = [name for name in _NEEDED[command] if not environ.get(name)]
    if missing:
        raise BadEnvironment(f"required env variables [{','.join(missing)}] missing")
    return command


def _decode(stdin: bytes, command: str) -> Mapping[str, Any]:
    # For VERSION, libcni sends a configuration; users and old runtimes send nothing.
    if command == "VERSION" and not stdin.strip():
        return {}
    from multus.api.jsontext import decode_object

    return decode_object(stdin, "the network configuration on stdin")


def request_of(command: str, environ: Mapping[str, str]) -> Request:
    """The request of *command* that the environment describes; raises ``BadEnvironment``."""
    from multus.api.names import interface_problem, is_identifier, unnameable
    from multus.api.request import Request, parse_args

    container_id, ifname = environ.get("CNI_CONTAINERID", ""), environ.get("CNI_IFNAME", "")
    if "CNI_CONTAINERID" in _NEEDED[command]:
        if not is_identifier(container_id):
            raise BadEnvironment(
                f"invalid CNI_CONTAINERID {container_id!r}",
                fix="use letters, digits, '_', '.', '-'",
            )
        problem = interface_problem(ifname) if command == "ADD" else unnameable(ifname)
        if problem:
            raise BadEnvironment(f"invalid CNI_IFNAME {ifname!r}: it {problem}")
    try:
        args = parse_args(environ.get("CNI_ARGS", ""))
    except ValueError as error:
        raise BadEnvironment(f"invalid CNI_ARGS: {error}") from error
    folders = (folder for folder in environ.get("CNI_PATH", "").split(":") if folder)
    # As with libcni's own tools, a relative folder is one of the working folder.
    path = tuple(
        folder if folder.startswith("/") else os.path.abspath(folder) for folder in folders
    )
    return Request(
        command=command,
        container_id=container_id,
        netns=environ.get("CNI_NETNS", ""),
        ifname=ifname,
        path=path,
        args=args,
        environ=environ,
    )


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _log_traceback(error: BaseException, stdin: bytes) -> None:
    """Log the traceback of an exception that is not a CNI error."""
    from multus.log import traceback_of

    log_of(stdin).error("internal error", error=error, traceback=traceback_of(error))


def _log_refusal(error: CNIError, environ: Mapping[str, str], stdin: bytes) -> None:
    command = environ.get("CNI_COMMAND", "")
    log = log_of(stdin).bind(container=environ.get("CNI_CONTAINERID", ""))
    log.error(command if command in _NEEDED else "refused", code=error.number, error=error)


def log_of(stdin: bytes) -> Log:
    """The log of the configuration *stdin*; one with defaults when it cannot be decoded."""
    from multus.api.keys import OWN_SPELLING
    from multus.api.spelling import spelled
    from multus.log import Log

    try:
        conf = json.loads(stdin)
    except (ValueError, RecursionError):
        conf = {}
    return Log.from_conf(spelled(conf, OWN_SPELLING) if isinstance(conf, dict) else {})


def _stack() -> str:
    from traceback import format_stack

    return "".join(format_stack())
