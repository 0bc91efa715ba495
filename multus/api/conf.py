"""The configuration that the runtime passes to Multus on stdin.

Only the engine's own keys are fields.  A plugin reads the keys that it owns from ``raw`` through
``reader``, and no other keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from attrs import field, frozen

from multus.api import keys
from multus.api._paths import is_plain
from multus.api.errors import IncompatibleVersion, InvalidConfig
from multus.api.frozen import EMPTY, FrozenDict, frozen_mapping, frozen_or_none
from multus.api.names import is_identifier
from multus.api.reader import Reader
from multus.api.versions import IMPLICIT, SUPPORTED, highest_common

#: How delegates' interfaces may be named, see ``multus.api.ordering``.
NAMINGS = keys.NAMING.choices

#: By key: the paths that a tenant's configuration may name when it is served in-process.
TENANT_PATHS: Mapping[str, tuple[str, ...]] = FrozenDict(
    {
        "dataDir": keys.TENANT_DATA_DIR.absent,
        "resolvConf": keys.TENANT_RESOLV_CONF.absent,
    }
)


class ValidAttachment(NamedTuple):
    """A valid attachment in GC's list: container ID and interface."""

    container_id: str
    ifname: str


@frozen
class Conf:
    """Multus' configuration; ``raw`` is the whole decoded object, read-only."""

    name: str
    cni_version: str
    raw: Mapping[str, Any] = field(repr=False, converter=frozen_mapping)
    bin_dir: str = keys.BIN_DIR.absent
    cni_dir: str = keys.CNI_DIR.absent
    always_use_default: bool = False
    merger: str = ""
    naming: str = ""
    default_route: str = ""
    invokers: Mapping[str, str] = field(default=EMPTY, converter=frozen_mapping)
    blocked_plugins: frozenset[str] = frozenset()
    delegate_timeout: float = keys.DELEGATE_TIMEOUT.absent
    unserved_requests: str = keys.UNSERVED_REQUESTS.absent
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

        Raises ``InvalidConfig`` for an invalid key, ``IncompatibleVersion`` for an unknown version.
        """
        name = raw.get("name")
        if not isinstance(name, str) or not name:
            raise InvalidConfig(
                "missing network name", path="name", fix="give the configuration a 'name'"
            )
        if not is_identifier(name):
            raise InvalidConfig(
                f"invalid network name {name!r}",
                path="name",
                fix="use letters, digits, '_', '.', '-', and start with a letter or digit",
            )
        reader = Reader(raw, f"configuration {name!r}")
        return cls(
            name=name,
            cni_version=negotiated_version(reader),
            raw=raw,
            bin_dir=keys.BIN_DIR.read(reader),
            cni_dir=keys.CNI_DIR.read(reader),
            always_use_default=keys.ALWAYS_USE_DEFAULT.read(reader),
            merger=keys.MERGER.read(reader),
            naming=keys.NAMING.read(reader),
            default_route=keys.DEFAULT_ROUTE.read(reader),
            invokers=_text_map(reader, keys.INVOKERS.name),
            blocked_plugins=frozenset(keys.BLOCKED_PLUGINS.read(reader)),
            delegate_timeout=keys.DELEGATE_TIMEOUT.read(reader),
            unserved_requests=keys.UNSERVED_REQUESTS.read(reader),
            tenant_paths=_tenant_paths(reader),
            runtime_config=keys.RUNTIME_CONFIG.read(reader),
            prev_result=keys.PREV_RESULT.read(reader) or None,
            valid_attachments=_valid_attachments(reader),
        )


def negotiated_version(reader: Reader) -> str:
    """The newest version of ``cniVersions`` and ``cniVersion`` that Multus supports.

    Raises ``IncompatibleVersion`` when there is none.
    """
    offered = {reader.text("cniVersion") or IMPLICIT, *reader.texts("cniVersions")}
    version = highest_common(offered)
    if version is None:
        raise IncompatibleVersion(
            f"incompatible CNI versions: config is"
            f" {', '.join(repr(each) for each in sorted(offered))}, supported are"
            f" {', '.join(SUPPORTED)}",
            where=reader.where,
            path=(*reader.prefix, "cniVersion"),
            fix="set 'cniVersion' to one of these",
        )
    return version


def _tenant_paths(reader: Reader) -> Mapping[str, tuple[str, ...]]:
    if reader.raw.get(keys.TENANT_PATHS.name) is None:
        return TENANT_PATHS
    given = reader.inner(keys.TENANT_PATHS.name)
    for key in given.raw:
        if key not in TENANT_PATHS:
            raise given.error(
                key, "is not a key that has places", f"use {' or '.join(TENANT_PATHS)}"
            )
        for index, path in enumerate(given.texts(key)):
            if not is_plain(path):
                raise given.error(
                    (key, index),
                    f"is {path!r}",
                    "use absolute paths without '.', '..' or an empty part",
                )
    return {
        "dataDir": keys.TENANT_DATA_DIR.read(reader),
        "resolvConf": keys.TENANT_RESOLV_CONF.read(reader),
    }


def _text_map(reader: Reader, key: str) -> Mapping[str, str]:
    mapping = reader.inner(key)
    return {each: mapping.text(each) for each in mapping.raw}


def _valid_attachments(reader: Reader) -> tuple[ValidAttachment, ...] | None:
    for key in keys.VALID_ATTACHMENTS:
        if reader.raw.get(key.name) is not None:
            entries = reader.inners(key.name)
            return tuple(ValidAttachment(e.text("containerID"), e.text("ifname")) for e in entries)
    return None
