"""The workers' service in tests of the server: each call's environment says what to do."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from multus.api.kubernetes import Resource
from multus.daemon.board import Board
from multus.daemon.channel import Channel
from multus.daemon.service import Report
from multus.daemon.settings import Settings
from multus.log import Log
from multus.registry.loading import load


class Echo:
    """Echoes the request, and records it.

    ``DO`` in the environment: ``say``: write to the supervisor's channel; ``few``: allow few more
    descriptors; ``sleep`` some seconds; ``gate``: wait for that file; ``raise``; ``text``: put it
    before the echo; ``length``: answer with the request's length; ``repeat`` the echo; ``fail``.
    """

    outdated = False

    def leaves(self, client: object) -> bool:
        return False

    def __init__(self, settings: Settings, log: Log) -> None:
        self.log = log
        self.broken: dict[str, str] = {}
        self.cached: dict[Resource, tuple[str, ...]] = {}
        self.hooks = load(()).hooks
        self.report = Report()
        self._asked = Path(settings.cni_dir) / "asked"

    def begin(self) -> None:
        self.report = Report()

    def answer(
        self, environ: Mapping[str, str], stdin: bytes, deadline: float, way: object = None
    ) -> tuple[int, bytes]:
        text = stdin.decode("latin-1")
        self._note([environ.get("CNI_COMMAND"), dict(environ), text, deadline])
        what, _, argument = environ.get("DO", "").partition(":")
        if what == "sleep":
            time.sleep(float(argument))
        elif what == "raise":
            raise RuntimeError("no")
        elif what == "gate":
            while not os.path.exists(argument):
                time.sleep(0.005)
        elif what == "say":
            _say(json.loads(argument))
            time.sleep(5)
        elif what == "few":
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        elif what == "fail":
            return 1, argument.encode()
        answers = {
            "text": argument.encode() + stdin,
            "length": b"%d" % len(stdin),
            "repeat": stdin * int(argument if what == "repeat" else 0),
        }
        return 0, answers.get(what, stdin)

    def recover(
        self, environ: Mapping[str, str], stdin: bytes, deadline: float, way: object = None
    ) -> tuple[int, bytes]:
        self._note(["recover", dict(environ), stdin.decode("latin-1"), deadline])
        return 0, b""

    def _note(self, entry: list[Any]) -> None:
        with open(self._asked, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def echo(settings: Settings, log: Log, api_path: str, board: Board) -> Echo:
    """The function that the template calls to make the service."""
    return Echo(settings, log)


def _say(head: Mapping[str, Any]) -> None:
    """Write to every socket, as a hostile plugin would: one of them may be the channel."""
    for number in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):
            end = socket.socket(fileno=os.dup(number))
            if end.type == socket.SOCK_SEQPACKET:
                Channel(end).send(head, b"", [0])
