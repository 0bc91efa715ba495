"""Attach three networks to a temporary pod, then remove them.

The demo runs in temporary network namespaces: one is the node, one is the pod.
It starts Multus as a container runtime does. The folder of CNI programs has
only those that are needed here: none, if the plugins that attach these
networks in-process are installed. If an ordinary user runs it, the demo runs
as root of a user namespace, where the machine allows that.

Examples:
  multus demo
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.api.errors import CNIError, IOFailure
from multus.cli import screen, telling
from multus.cli.commands.demo.networks import delegates, prepare
from multus.cli.screen import Screen

if TYPE_CHECKING:
    from multus.state.record import Record
    from multus.testing.netns import Netns, Node
    from multus.testing.runtime import Container, Runtime


#: Gives an ordinary user a network namespace and a mount namespace.
_UNSHARE = ("unshare", "-Urnm")


STATUSES = {
    0: "everything was attached, and nothing is left behind",
    1: "something is left behind, or the demo cannot run here",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Has no options."""


def run(arguments: argparse.Namespace) -> int:
    """Attach, show, detach, compare; status 1 when something was not removed."""
    if os.geteuid() != 0:
        _become_root_of_a_user_namespace()
    shown = Screen.open()
    telling.doing("making namespaces for a node and a pod")
    with ExitStack() as stack:
        return _show(_Stage.set_up(stack), shown)


@frozen
class _Stage:
    """The node, the pod and the runtime of the demo."""

    node: Node
    pod: Netns
    runtime: Runtime
    container: Container
    folder: str
    programs: Sequence[str]

    @classmethod
    def set_up(cls, stack: ExitStack) -> _Stage:
        """Create them; *stack* removes them."""
        from multus.testing.delegates import BinDir
        from multus.testing.netns import Netns, Node
        from multus.testing.runtime import Container, Runtime, installed_program

        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="multus-demo-"))
        node = Node.create("demo-node")
        stack.callback(node.remove)
        pod = Netns.create("demo-pod")
        stack.callback(pod.remove)
        programs = BinDir(os.path.join(folder, "bin"))
        needed = prepare(node, programs)
        runtime = Runtime(installed_program(), programs.path, node)
        return cls(node, pod, runtime, Container(pod.path, id="demo"), folder, needed)

    @property
    def ipam_dir(self) -> str:
        return os.path.join(self.folder, "networks")

    @property
    def cni_dir(self) -> str:
        return os.path.join(self.folder, "multus")

    def conf(self) -> dict[str, Any]:
        """The node's network configuration."""
        return {
            "cniVersion": "1.0.0",
            "name": "demo",
            "type": "multus",
            "cniDir": self.cni_dir,
            # Nothing outlives the demo.
            "warmSeconds": 0,
            "delegates": delegates(self.ipam_dir),
        }


def _show(stage: _Stage, shown: Screen) -> int:
    shown.line(f"Node   {stage.node.name}, a network namespace that stands for the host")
    shown.line(f"Pod    {stage.pod.name}, a network namespace that has only lo")
    conf = stage.conf()
    kinds = ", ".join(each["type"] for each in conf["delegates"])
    shown.line(f"ADD    requests three networks: {kinds}")
    shown.line(f"CNI programs that it can start: {', '.join(stage.programs) or 'none'}")

    before = stage.node.state(stage.ipam_dir, stage.cni_dir)
    telling.doing("attaching three networks")
    added = stage.runtime.add(conf, stage.container)
    result = added.result
    shown.line()
    shown.line(("ADD", "bold"), f" took {added.seconds * 1000:.0f} ms. The pod now has:")
    shown.line()
    titles = ("Link", "Address", "MAC", "Network", "Plugin", "Attached", "Time")
    shown.rows(titles, _attached(stage))
    shown.line()
    shown.line("The runtime gets this result:")
    shown.json(result)

    telling.doing("detaching them")
    deleted = stage.runtime.delete(conf, stage.container, result).require()
    left = [*before.difference(stage.node.state(stage.ipam_dir, stage.cni_dir)), *stage.pod.links()]
    shown.line()
    took = f" took {deleted.seconds * 1000:.0f} ms. "
    if left:
        shown.line(("DEL", "bold"), took, ("Left behind:", "bold red"))
        for each in left:
            shown.line(f"  {each}")
        return 1
    nothing = ("Left behind on the node and in the pod: ", ("nothing", "bold green"), ".")
    shown.line(("DEL", "bold"), took, *nothing)
    shown.line("Compared: links, addresses, routes, rules, firewall, IPAM and state files.")
    return 0


def _attached(stage: _Stage) -> Iterator[tuple[str, ...]]:
    """A row for each network."""
    links = stage.pod.links()
    for attachment in _record(stage).attachments():
        ifname = attachment.delegate.ifname
        yield (
            ifname,
            ", ".join(stage.pod.addresses(ifname)),
            links[ifname].mac,
            attachment.delegate.label,
            attachment.delegate.types,
            ", ".join(map(_way, attachment.invokers)),
            f"{attachment.seconds * 1000:.1f} ms",
        )


def _way(invoker: str) -> str:
    return "program" if invoker == "exec" else "in-process"


def _record(stage: _Stage) -> Record:
    from multus.state.journal import Journal

    record = Journal(stage.cni_dir).find(stage.container.id, stage.container.ifname)
    if record is None:
        raise CNIError(
            f"the program answered, but {stage.cni_dir} has no record of it",
            fix="please report this bug",
        )
    return record


def _become_root_of_a_user_namespace() -> None:
    """Exec the demo in new namespaces with an empty ``/run``; does not return."""
    from multus.testing.runtime import installed_program

    # If a security module restricts user namespaces, unshare succeeds and mount fails.
    mount = "mount -t tmpfs tmpfs /run"
    _require([*_UNSHARE, *mount.split()])
    inside = f'{mount} && exec "$@"'
    command = [*_UNSHARE, "sh", "-c", inside, "sh", *installed_program(), "demo"]
    screen.give_back()
    telling.end()  # its timer would outlive the exec
    os.execvp(command[0], command)


def _require(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise IOFailure(
            f"unshare cannot be started ({error.strerror})",
            fix="install util-linux, or run it as root",
        ) from error
    if done.returncode:
        raise IOFailure(
            f"this machine does not let ordinary users create namespaces ({done.stderr.strip()})",
            fix="run it as root (on Ubuntu, kernel.apparmor_restrict_unprivileged_userns=0"
            " allows it)",
        )
