"""The invoker: computes the configuration of another plugin, and delegates to it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from multus.api.delegation import Delegated, Delegating, delegated
from multus.api.errors import CNIError, InvalidConfig, NotAvailable
from multus.api.invoker import Declined
from multus.api.network import Provenance
from multus.inprocess import LinkInvoker, forget, reader_of
from multus_invoker_flannel import lease, store
from multus_invoker_flannel.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from multus.api.network import Delegate, Invocation, Plugin
    from multus.api.reader import Reader
    from multus.api.result import Result

_LEASES = lease.FILE.rpartition("/")[0] + "/"


def no_lease(plugin: Plugin, delegate: Delegate) -> Declined | None:
    """The answer for a tenant's ``subnetFile`` outside flannel's own folder."""
    path = plugin.config.get("subnetFile")
    if delegate.provenance is Provenance.NODE or not isinstance(path, str) or not path:
        return None
    if path.startswith(_LEASES) and "/" not in path.removeprefix(_LEASES):
        return None
    return Declined("flannel", f"key 'subnetFile' is {path!r}, and a tenant's is in {_LEASES}")


class Flannel(Delegating):
    """Attaches to networks of flannel, by ``bridge`` or the type that ``delegate`` names."""

    name = "flannel"
    # The links of delegated plugins are deleted with those of the container's other networks.
    before_delete = staticmethod(LinkInvoker.before_delete)

    def inner(self, invocation: Invocation) -> Delegated:
        return delegated(invocation, _config(invocation))

    def add(self, invocation: Invocation) -> Result:
        inner = self.inner(invocation)
        store.save(invocation, inner.invocation.config)
        return inner.add()

    def delete_one(self, invocation: Invocation) -> None:
        kept = store.load(invocation)
        try:
            super().delete_one(invocation)
        except InvalidConfig as error:
            if kept is not None:
                raise
            # ADD refused this configuration.
            invocation.log.verbose("nothing was attached", error=error)
        if kept is not None:
            forget(kept.path)
        store.forget_unfinished(invocation)

    def status(self, invocation: Invocation) -> None:
        try:
            super().status(invocation)
        except CNIError as error:
            raise error.into(NotAvailable) from error

    def gc(self, invocation: Invocation) -> None:
        super().gc(invocation)
        valid = {(each["containerID"], each["ifname"]) for each in invocation.valid_attachments}
        containers = {container_id for container_id, _ in valid}
        for kept in store.of_network(invocation):
            known = (kept.container_id, kept.ifname) in valid
            if not known and (kept.ifname or kept.container_id not in containers):
                forget(kept.path)


def _config(invocation: Invocation) -> Mapping[str, Any]:
    """The delegated plugin's configuration: computed, or the one that ADD got."""
    if invocation.verb in ("DEL", "CHECK"):
        kept = store.load(invocation)
        if kept is not None and kept.config:
            return kept.config
    reader = reader_of(invocation)
    path = reader.text("subnetFile") or lease.FILE
    if invocation.verb in ("ADD", "STATUS"):
        reader.path("dataDir")
        return computed(invocation, lease.read(path))
    with suppress(CNIError):
        return computed(invocation, lease.read(path))
    if invocation.verb == "GC":
        for kept in store.of_network(invocation):
            return kept.config
    return computed(invocation, Lease())


def computed(invocation: Invocation, found: Lease) -> dict[str, Any]:
    """The configuration for the delegated plugin; raises ``InvalidConfig``.

    What ``delegate`` has precedes what is computed.
    """
    reader = reader_of(invocation)
    inner = reader.inner("delegate")
    for key in ("name", "ipam"):
        if key in inner.raw:
            raise inner.error(key, "is set, which flannel sets itself", "remove it")
    if inner.text("type") == Flannel.name:
        # Both would keep their configurations in one file.
        raise inner.error("type", "is 'flannel' itself", "name one that attaches networks")
    config: dict[str, Any] = {
        "ipMasq": not found.masquerades,
        "mtu": found.mtu,
        **inner.raw,
        "type": inner.text("type") or "bridge",
        "name": invocation.config["name"],
        "cniVersion": invocation.cni_version,
        "ipam": _ipam(reader.inner("ipam"), found),
    }
    if config["type"] == "bridge":
        config.setdefault("isGateway", True)
    if "runtimeConfig" in invocation.config:
        config["runtimeConfig"] = invocation.config["runtimeConfig"]
    return config


def _ipam(reader: Reader, found: Lease) -> dict[str, Any]:
    routes: Sequence[Mapping[str, Any]] = reader.mappings("routes")
    return {
        "type": "host-local",
        **reader.raw,
        "ranges": [[{"subnet": each}] for each in found.subnets],
        "routes": [*routes, *({"dst": each} for each in found.networks)],
    }
