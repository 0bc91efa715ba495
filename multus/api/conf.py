"""The configuration that the runtime hands Multus on stdin.

Only the engine's own keys are fields.  A plugin reads the keys that it owns from ``raw`` through
``reader``; nobody parses another's keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from multus.api._paths import is_plain
from multus.api.errors import IncompatibleVersion, InvalidConfig
from multus.api.frozen import EMPTY, FrozenDict, frozen_mapping, frozen_or_none
from multus.api.names import is_identifier
from multus.api.reader import Reader
from multus.api.versions import IMPLICIT, SUPPORTED, highest_common

#: How delegates' interfaces may be named, see ``multus.api.ordering``.
NAMINGS = ("seed", "npwg")

#: Where a tenant's configuration may point when it is carried out in-process, by key.
TENANT_PATHS: Mapping[str, tuple[str, ...]] = FrozenDict(
    {
        "dataDir": ("/var/lib/cni/networks",),
        "resolvConf": ("/etc/resolv.conf", "/run/systemd/resolve"),
    }
)


@frozen
class Problem:
    """Something wrong with a configuration: where (a key's path), why, and what to do."""

    path: str
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}: {self.fix}"


@frozen
class ValidAttachment:
    """A valid attachment as GC lists it: which container, which interface."""

    container_id: str
    ifname: str


@frozen
class Conf:
    """Multus' configuration; ``raw`` is the whole of it as decoded, and read-only."""

    name: str
    cni_version: str
    raw: Mapping[str, Any] = field(repr=False, converter=frozen_mapping)
    bin_dir: str = "/opt/cni/bin"
    cni_dir: str = "/var/lib/cni/multus"
    always_use_default: bool = False
    merger: str = ""
    naming: str = ""
    invokers: Mapping[str, str] = field(default=EMPTY, converter=frozen_mapping)
    blocked_plugins: frozenset[str] = frozenset()
    delegate_timeout: float = 60.0
    tenant_paths: Mapping[str, tuple[str, ...]] = field(
        default=TENANT_PATHS, converter=frozen_mapping
    )
    runtime_config: Mapping[str, Any] = field(default=EMPTY, converter=frozen_mapping)
    prev_result: Mapping[str, Any] | None = field(default=None, converter=frozen_or_none)
    valid_attachments: tuple[ValidAttachment, ...] | None = None

    @property
    def reader(self) -> Reader:
        """Typed access to the keys of ``raw``."""
        return Reader(self.raw, f"configuration {self.name!r}")

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Conf:
        """Read the engine's keys.

        Raises ``InvalidConfig`` for a key that is wrong, ``IncompatibleVersion`` for a version
        that is not known.
        """
        name = raw.get("name")
        if not isinstance(name, str) or not name:
            raise InvalidConfig("missing network name: give the configuration a 'name'")
        if not is_identifier(name):
            raise InvalidConfig(
                f"invalid network name {name!r}: use letters, digits, '_', '.', '-', and start"
                " with a letter or digit"
            )
        reader = Reader(raw, f"configuration {name!r}")
        naming = reader.text("naming")
        if naming and naming not in NAMINGS:
            raise InvalidConfig(
                f"configuration {name!r}: 'naming' is {naming!r}: use one of {', '.join(NAMINGS)}"
            )
        return cls(
            name=name,
            cni_version=negotiated_version(reader),
            raw=raw,
            bin_dir=reader.path("binDir", "/opt/cni/bin"),
            cni_dir=reader.path("cniDir", "/var/lib/cni/multus"),
            always_use_default=reader.boolean("always_use_default"),
            merger=reader.text("merger"),
            naming=naming,
            invokers=_text_map(reader, "invokers"),
            blocked_plugins=frozenset(reader.texts("blockedPlugins")),
            delegate_timeout=_timeout(reader),
            tenant_paths=_tenant_paths(reader),
            runtime_config=reader.mapping("runtimeConfig"),
            prev_result=reader.mapping("prevResult") or None,
            valid_attachments=_valid_attachments(reader),
        )


def negotiated_version(reader: Reader) -> str:
    """The newest version that both sides know, out of ``cniVersions`` and ``cniVersion``.

    Raises ``IncompatibleVersion`` when there is none.
    """
    offered = {reader.text("cniVersion") or IMPLICIT, *reader.texts("cniVersions")}
    version = highest_common(offered)
    if version is None:
        raise IncompatibleVersion(
            f"{reader.where}: incompatible CNI versions: config is"
            f" {', '.join(repr(each) for each in sorted(offered))}, supported are"
            f" {', '.join(SUPPORTED)}: set 'cniVersion' to one of these"
        )
    return version


def _timeout(reader: Reader) -> float:
    seconds = reader.number("delegateTimeout", 60.0)
    if not 0 < seconds <= 3600:
        raise InvalidConfig(
            f"{reader.where}: 'delegateTimeout' is {seconds}: use seconds above 0, at most 3600"
        )
    return seconds


def _tenant_paths(reader: Reader) -> Mapping[str, tuple[str, ...]]:
    given = Reader(reader.mapping("tenantPaths"), f"{reader.where}: tenantPaths")
    for key in given.raw:
        if key not in TENANT_PATHS:
            raise InvalidConfig(
                f"{given.where}: {key!r} is not a key that has places: use"
                f" {' or '.join(TENANT_PATHS)}"
            )
        for path in given.texts(key):
            if not is_plain(path):
                raise InvalidConfig(
                    f"{given.where}: '{key}' lists {path!r}: use absolute paths without '.', '..'"
                    " or an empty part"
                )
    return {
        key: tuple(given.texts(key)) if key in given.raw else known
        for key, known in TENANT_PATHS.items()
    }


def _text_map(reader: Reader, key: str) -> Mapping[str, str]:
    mapping = reader.mapping(key)
    return {each: Reader(mapping, f"{reader.where}: '{key}'").text(each) for each in mapping}


def _valid_attachments(reader: Reader) -> tuple[ValidAttachment, ...] | None:
    # Runtimes of today write the first spelling, libcni 1.1.0 to 1.1.2 the second.
    for key in ("cni.dev/valid-attachments", "cni.dev/attachments"):
        if reader.raw.get(key) is not None:
            entries = [Reader(each, f"'{key}'") for each in reader.mappings(key)]
            return tuple(ValidAttachment(e.text("containerID"), e.text("ifname")) for e in entries)
    return None
