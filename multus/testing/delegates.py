"""Folders of delegates: real plugins of the system, and stand-ins that record their calls.

A stand-in replaces a plugin that the machine cannot run (it needs a card, a daemon, a cluster), or
a faulty plugin.  It is a shell script: it starts fast, and does not depend on our code.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from multus.api import atomic

#: The folders in which distributions install the reference plugins.
SYSTEM_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")

_SCRIPT = """\
#!/bin/sh
# Records the call, then answers as its folder says.
home={home}
case $CNI_COMMAND in VERSION) ;; *)
    call=$home/calls/$(date +%s%N)-$$
    mkdir -p "$call.part"
    cat >"$call.part/stdin"
    tr '\\0' '\\n' <"/proc/$$/environ" >"$call.part/environ"
    echo {name} >"$call.part/name"
    mv "$call.part" "$call"
esac
answer=$home/answers/{name}/$CNI_COMMAND
[ -d "$answer" ] || exit 0
cat "$answer/stderr" >&2
sleep "$(cat "$answer/sleep")"
signal=$(cat "$answer/signal")
[ "$signal" = 0 ] || kill -"$signal" $$
sed "s|@IFNAME@|$CNI_IFNAME|g; s|@NETNS@|$CNI_NETNS|g; s|@CONTAINERID@|$CNI_CONTAINERID|g" \
    "$answer/stdout"
exit "$(cat "$answer/status")"
"""

_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")


@frozen
class Reply:
    """The reply of a stand-in to one command.

    ``@IFNAME@``, ``@NETNS@`` and ``@CONTAINERID@`` in *stdout* are replaced with the call's values.
     *sleep* is in seconds; *signal* is the signal that it sends itself, 0 for none.
    """

    stdout: str = ""
    status: int = 0
    stderr: str = ""
    sleep: float = 0
    signal: int = 0

    @classmethod
    def json(cls, value: Any) -> Reply:
        """Succeed and print *value*."""
        return cls(json.dumps(value))

    @classmethod
    def error(cls, code: int, msg: str, details: str = "", version: str = "1.0.0") -> Reply:
        """Fail with a CNI error object."""
        body = {"cniVersion": version, "code": code, "msg": msg, "details": details}
        return cls(json.dumps(body), status=1)


@frozen
class Call:
    """One call of a stand-in: its name, environment, and input (bytes)."""

    name: str
    environ: Mapping[str, str]
    stdin: bytes

    @property
    def command(self) -> str:
        return self.environ["CNI_COMMAND"]

    @property
    def ifname(self) -> str:
        return self.environ.get("CNI_IFNAME", "")

    @property
    def conf(self) -> dict[str, Any]:
        """The decoded configuration from its input."""
        return dict(json.loads(self.stdin))

    def __str__(self) -> str:
        return f"{self.command} {self.name} {self.ifname}"


@frozen
class BinDir:
    """A folder for a configuration's ``binDir`` or for ``CNI_PATH``."""

    path: str
    home: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "home", f"{self.path}.stand-ins")
        for folder in (self.path, f"{self.home}/calls", f"{self.home}/answers"):
            os.makedirs(folder, exist_ok=True)

    def real(self, *names: str) -> BinDir:
        """Add the system's plugins, all of them unless some are named; returns itself.

        Raises ``FileNotFoundError`` for a plugin that is not installed.
        """
        for name in names or real_plugins():
            target = real_plugin(name)
            if target is None:
                raise FileNotFoundError(
                    f"no CNI plugin {name!r} in {', '.join(SYSTEM_FOLDERS)}:"
                    " install containernetworking-plugins"
                )
            os.symlink(target, os.path.join(self.path, name))
        return self

    def stand_in(self, name: str, **replies: Reply) -> BinDir:
        """Add a stand-in, with a reply for each command (``ADD=Reply(…)``); returns itself.

        By default, ADD returns an interface of the requested name; DEL and CHECK succeed.
        """
        defaults = {
            "ADD": Reply.json(interface_result()),
            "VERSION": Reply.json({"cniVersion": "1.1.0", "supportedVersions": list(_VERSIONS)}),
        }
        # A stand-in that is added again keeps no old replies.
        shutil.rmtree(f"{self.home}/answers/{name}", ignore_errors=True)
        for command, reply in {**defaults, **replies}.items():
            self._answer(name, command, reply)
        script = _SCRIPT.format(home=_quoted(self.home), name=_quoted(name))
        return self.file(name, script.encode())

    def file(self, name: str, content: bytes, mode: int = 0o755) -> BinDir:
        """Add any file; returns itself."""
        # Rename, so that processes keep running the old file.
        atomic.write(os.path.join(self.path, name), content, mode, fsync=False)
        return self

    def remove(self, name: str) -> None:
        """Remove a plugin."""
        os.unlink(os.path.join(self.path, name))

    @property
    def calls(self) -> list[Call]:
        """All calls of stand-ins in order, without VERSION."""
        folder = f"{self.home}/calls"
        done = sorted(name for name in os.listdir(folder) if not name.endswith(".part"))
        return [_read_call(os.path.join(folder, name)) for name in done]

    def commands(self, *commands: str) -> list[str]:
        """The calls as text, ``ADD flannel eth0``: all, or only those of some commands."""
        wanted = commands or ("ADD", "DEL", "CHECK", "STATUS", "GC")
        return [str(call) for call in self.calls if call.command in wanted]

    def _answer(self, name: str, command: str, reply: Reply) -> None:
        folder = f"{self.home}/answers/{name}/{command}"
        os.makedirs(folder, exist_ok=True)
        parts = {
            "stdout": reply.stdout,
            "stderr": reply.stderr,
            "status": reply.status,
            "sleep": reply.sleep,
            "signal": reply.signal,
        }
        for part, value in parts.items():
            with open(f"{folder}/{part}", "w", encoding="utf-8") as target:
                target.write(str(value))


def interface_result(
    addresses: Sequence[str] = (), version: str = "1.0.0", mac: str = "02:00:00:00:00:10"
) -> dict[str, Any]:
    """A result with the requested interface, for a stand-in's reply."""
    link = {"name": "@IFNAME@", "mac": mac, "sandbox": "@NETNS@"}
    ips = [{"address": address, "interface": 0} for address in addresses]
    return {"cniVersion": version, "interfaces": [link], "ips": ips, "dns": {}}


def real_plugin(name: str) -> str | None:
    """The path of one of the system's plugins."""
    paths = (os.path.join(folder, name) for folder in SYSTEM_FOLDERS)
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def real_plugins() -> list[str]:
    """The names of all of the system's plugins."""
    names: set[str] = set()
    for folder in SYSTEM_FOLDERS:
        if os.path.isdir(folder):
            names.update(entry.name for entry in os.scandir(folder) if _is_program(entry))
    return sorted(names)


def _is_program(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() and bool(entry.stat().st_mode & stat.S_IXUSR)


def _read_call(folder: str) -> Call:
    def part(name: str) -> bytes:
        with open(os.path.join(folder, name), "rb") as source:
            return source.read()

    pairs = (line.partition("=") for line in part("environ").decode().splitlines() if "=" in line)
    environ = {name: value for name, _, value in pairs}
    return Call(part("name").decode().strip(), environ, part("stdin"))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
