"""A node whose power is cut: its networks, its calls, and what is on its disks."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import field, frozen
from reliability.life import Definitions

from multus.api.conf import Conf
from multus.api.jsontext import encode
from multus.cli import main as command_line
from multus.cni import skel
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import Installed, load
from multus.testing.runtime import Container

CONF, BIN, LEASE = "/run/multus.conf", "/run/bin", "/run/subnet.env"

#: Files that stay by design: locks, and host-local's last reserved address.
_STAYS = (".lock", "lock", "last_reserved_ip")
_ARGS = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"


@frozen
class Afflicted:
    """The node: its state is on one disk, its stores on the same or on another one."""

    state: str
    stores: str
    installed: Installed = field(factory=lambda: load(discover()))

    @property
    def cni_dir(self) -> str:
        return f"{self.state}/multus"

    @property
    def conf(self) -> dict[str, Any]:
        tuning = {"type": "tuning", "mtu": 1400, "dataDir": self.kept[1]}
        flannel = {"type": "flannel", "delegate": {"bridge": "cni0"}, "subnetFile": LEASE}
        flannel |= {"dataDir": self.kept[0], "ipam": {"dataDir": self.addresses}}
        executed = {"type": "bridge", "bridge": "br0", "ipam": self._ipam(2), "invoker": "exec"}
        return {
            "cniVersion": "1.1.0",
            "name": "node",
            "type": "multus",
            "cniDir": self.cni_dir,
            "binDir": BIN,
            "logToStderr": False,
            "kubeconfig": "/none",
            "tenantPaths": {"dataDir": [self.addresses]},
            "delegates": [
                {"name": "chain", "plugins": [flannel, tuning]},
                {"name": "executed", **executed},
            ],
        }

    @property
    def one_disk(self) -> bool:
        return self.stores.startswith(self.state)

    @property
    def kept(self) -> tuple[str, ...]:
        """Where plugins keep what their own DEL reads."""
        return f"{self.stores}/flannel/", f"{self.stores}/tuning/"

    @property
    def addresses(self) -> str:
        return f"{self.stores}/networks"

    def _ipam(self, number: int, *more: str) -> dict[str, Any]:
        ranges = [[{"subnet": each}] for each in (f"10.{number}.0.0/24", *more)]
        return {"type": "host-local", "dataDir": self.addresses, "ranges": ranges}

    def _tenants(self) -> dict[str, dict[str, Any]]:
        tenants: dict[str, dict[str, Any]] = {
            "ptp": {"type": "ptp", "ipam": self._ipam(3, "fd00:3::/64")},
            "macvlan": {"type": "macvlan", "master": "uplink", "ipam": self._ipam(4)},
        }
        return {
            name: {"cniVersion": "1.0.0", "name": name, **each} for name, each in tenants.items()
        }

    # --- Calls -----------------------------------------------------------------------------------

    def call(self, command: str, name: str, netns: str) -> tuple[int, bytes]:
        """One call by the engine of this process."""
        container = Container(netns, name, "eth0", _ARGS)
        search = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        environ = {"PATH": search, "CNI_COMMAND": command, "CNI_PATH": BIN}
        environ |= container.environ()
        return skel.answer(environ, encode(self.conf), self._engine)

    def _engine(self, conf: Conf, deadline: float | None = None) -> Engine:
        log, api = Log.from_conf(conf.raw), Definitions(self._tenants())
        return Engine(self.installed, log, api=api, deadline=deadline)

    def command(self, *argv: str) -> tuple[int, str]:
        """One command line of the program; its status and standard output."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            status = command_line(argv)
        return status, printed.getvalue()

    # --- What is on the disks --------------------------------------------------------------------

    def files(self) -> Iterator[str]:
        """The files that should not be there when no container is."""
        for folder in (self.cni_dir, self.stores):
            for parent, _, names in os.walk(folder):
                for name in names:
                    path = os.path.join(parent, name)
                    if not name.startswith(_STAYS) and not name.endswith(".lock"):
                        yield f"{path} {Path(path).read_bytes()[:40]!r}"

    def of(self, name: str) -> list[str]:
        """The files that name a container."""
        return [each for each in self.files() if name in each]
