"""A container runtime, as far as CNI is concerned: it starts the program and reads its answer.

What it does is what libcni does (CNI specification 1.1.0, section 2): the configuration on standard
input, everything else in ``CNI_*`` variables, the answer on standard output.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from multus.testing.netns import Netns

_SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"

#: A configuration: decoded, or the very bytes to send.
Config = Mapping[str, Any] | bytes


@frozen
class Container:
    """What a runtime tells CNI about one attachment of a container."""

    netns: str
    id: str = field(factory=lambda: f"c{secrets.token_hex(8)}")
    ifname: str = "eth0"
    args: str = ""

    def environ(self) -> dict[str, str]:
        """The variables that name it."""
        named = {
            "CNI_CONTAINERID": self.id,
            "CNI_NETNS": self.netns,
            "CNI_IFNAME": self.ifname,
            "CNI_ARGS": self.args,
        }
        return {name: value for name, value in named.items() if value}


@frozen
class Answer:
    """How one call ended; *seconds* is the wall time of the process."""

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """Standard output, decoded: the whole of it has to be one JSON text."""
        return json.loads(self.stdout)

    @property
    def result(self) -> dict[str, Any]:
        """The result of a call that succeeded; ``CallFailed`` when it did not."""
        self.require()
        return dict(self.json)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of a call that failed, as the specification wants it."""
        if self.status == 0:
            raise AssertionError(f"the call succeeded: {self.stdout.decode(errors='replace')}")
        return dict(self.json)

    def require(self) -> Answer:
        """Itself; ``CallFailed`` when the call failed."""
        if self.status:
            raise CallFailed(self)
        return self


class CallFailed(Exception):
    """A call ended with a status that is not 0."""

    def __init__(self, answer: Answer) -> None:
        said = (answer.stdout + answer.stderr).decode(errors="replace")
        super().__init__(f"exit status {answer.status}: {said}")
        self.answer = answer


@frozen
class Runtime:
    """Calls *program* (an argument vector) in the network namespace that plays the host.

    ``cni_path`` is ``CNI_PATH``.  The program inherits ``environ`` and nothing of the caller's
    environment, so that a test means the same everywhere.
    """

    program: Sequence[str]
    cni_path: str
    node: Netns | None = None
    environ: Mapping[str, str] = field(factory=lambda: {"PATH": _SEARCH})
    timeout: float = 60.0

    def add(self, conf: Config, container: Container) -> Answer:
        return self.call("ADD", conf, container.environ())

    def delete(
        self,
        conf: Config,
        container: Container,
        prev_result: Mapping[str, Any] | None = None,
    ) -> Answer:
        """DEL; *prev_result* is what ADD answered, which libcni hands on from 0.4.0 up."""
        return self.call("DEL", _with_result(conf, prev_result), container.environ())

    def check(
        self, conf: Config, container: Container, prev_result: Mapping[str, Any] | None
    ) -> Answer:
        return self.call("CHECK", _with_result(conf, prev_result), container.environ())

    def status(self, conf: Config) -> Answer:
        return self.call("STATUS", conf, {})

    def gc(self, conf: Mapping[str, Any], valid: Sequence[Container] = ()) -> Answer:
        """GC with the attachments that are still valid, under both names that libcni used."""
        entries = [{"containerID": each.id, "ifname": each.ifname} for each in valid]
        keys = ("cni.dev/valid-attachments", "cni.dev/attachments")
        return self.call("GC", {**conf, **dict.fromkeys(keys, entries)}, {})

    def version(self, conf: Config = b'{"cniVersion": "1.1.0"}') -> Answer:
        return self.call("VERSION", conf, {})

    def call(self, command: str, conf: Config, variables: Mapping[str, str | None]) -> Answer:
        """One call; a variable that is None is left out, also of the usual ones."""
        wanted = {
            **self.environ,
            "CNI_COMMAND": command,
            "CNI_PATH": self.cni_path,
            **variables,
        }
        stdin = conf if isinstance(conf, bytes) else json.dumps(conf).encode()
        return self.start({k: v for k, v in wanted.items() if v is not None}, stdin)

    def start(self, environ: Mapping[str, str], stdin: bytes, *args: str) -> Answer:
        """Start the program with exactly this environment and input."""
        argv = [*self.program, *args]
        begin = time.perf_counter()
        done = subprocess.run(
            self.node.command(argv) if self.node else argv,
            input=stdin,
            env=dict(environ),
            capture_output=True,
            timeout=self.timeout,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr, time.perf_counter() - begin)

    def within(self, node: Netns) -> Runtime:
        """The same runtime on another node."""
        return evolve(self, node=node)


def installed_program() -> tuple[str, ...]:
    """The ``multus`` of this Python environment, as an argument vector."""
    script = os.path.join(os.path.dirname(sys.executable), "multus")
    return (script,) if os.access(script, os.X_OK) else (sys.executable, "-m", "multus")


def _with_result(conf: Config, prev_result: Mapping[str, Any] | None) -> Config:
    if isinstance(conf, bytes) or prev_result is None:
        return conf
    return {**conf, "prevResult": prev_result}
