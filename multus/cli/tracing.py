"""Which entries of the trace a command shows: by container or pod, time, failure."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from multus.api.errors import InvalidConfig, MissingPlugin
from multus.cli import numbers
from multus.cli.attachments import CNI_DIR
from multus.cli.recent import number
from multus.log.trace import follow, read

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: How many entries --follow begins with.
_BEFORE = 10

Entry = dict[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that :func:`chosen` reads."""
    parser.add_argument(
        "container",
        nargs="?",
        default="",
        metavar="CONTAINER|POD",
        help="a prefix of a container ID, or [NAMESPACE/]NAME of a pod; default: all",
    )
    parser.add_argument("--failed", action="store_true", help="only failed requests")
    parser.add_argument(
        "--since",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="only of this time: 90s, 10m, 2h",
    )
    parser.add_argument(
        "--last", type=numbers.count, default=0, metavar="N", help="only the last N entries"
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with new entries; ends by Ctrl-C"
    )
    # Not as other commands have it: the trace stands beside the folder, and may outlive it.
    parser.add_argument("--cni-dir", default=CNI_DIR, metavar="FOLDER", help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON, one entry per line")


def duration(text: str) -> float:
    """``90s``, ``10m``, ``2h`` or ``1d`` in seconds; for argparse."""
    found = re.fullmatch(r"(\d+)([smhd]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 90s, 10m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2] or "s"]


def chosen(arguments: argparse.Namespace) -> Iterator[Entry]:
    """The entries that the arguments ask for, oldest first; with --follow, it does not end.

    Raises ``MissingPlugin`` when there is no trace, ``InvalidConfig`` for the name of pods in
    several namespaces.
    """
    new: Iterator[Entry] = iter(())
    if arguments.follow:
        entries, new = follow(arguments.cni_dir)
    else:
        entries = _all(arguments.cni_dir)
    _require_one_pod(entries, arguments.container)
    last = arguments.last or (_BEFORE if arguments.follow and not arguments.since else 0)
    old = (each for each in entries if is_wanted(each, arguments))
    kept: Iterator[Entry] = iter(deque(old, last)) if last else old
    return itertools.chain(kept, (each for each in new if is_wanted(each, arguments)))


def _all(folder: str) -> list[Entry]:
    try:
        return list(read(folder))
    except FileNotFoundError as error:
        if folder != CNI_DIR and not os.path.lexists(folder):
            raise InvalidConfig(
                f"there is no folder {folder}", fix="name Multus' cniDir with --cni-dir"
            ) from error
        if _is_traced():
            return []
        raise MissingPlugin(
            f"there is no trace ({error.args[0]})",
            fix="install multus-observer-trace; it records requests from then on",
        ) from error


def _is_traced() -> bool:
    """Whether the plugin that writes the trace is installed here."""
    from importlib.metadata import PackageNotFoundError, distribution

    with suppress(PackageNotFoundError):
        distribution("multus-observer-trace")
        return True
    return False


def nothing(arguments: argparse.Namespace, what: str = "entry") -> str:
    """Why nothing is shown, as a sentence."""
    given = {
        f"of {arguments.container}": arguments.container,
        "that failed": arguments.failed,
        "of this time": arguments.since,
    }
    chosen = " ".join(words for words, wanted in given.items() if wanted)
    said = f"the trace has no {what}{' ' * bool(chosen)}{chosen}"
    return f"{said}: there was no request, or it was too long ago"


def is_wanted(entry: Mapping[str, Any], arguments: argparse.Namespace) -> bool:
    if arguments.failed and "error" not in entry:
        return False
    if arguments.since and number(entry.get("time")) < time.time() - arguments.since:
        return False
    who, pod = str(arguments.container), str(entry.get("pod", ""))
    if "/" in who:
        return pod == who
    named = bool(who) and pod.rpartition("/")[2] == who
    return named or str(entry.get("container", "")).startswith(who)


def _require_one_pod(entries: list[Entry], who: str) -> None:
    """Refuse a name without a namespace that pods of several namespaces have."""
    if not who or "/" in who:
        return
    pods = {str(each.get("pod", "")) for each in entries}
    found = sorted(each for each in pods if each.rpartition("/")[2] == who)
    if len(found) > 1:
        raise InvalidConfig(
            f"several pods are called {who!r}", fix=f"name one of {', '.join(found)}"
        )
