"""The conf-file source: the networks that Multus' own configuration lists.

There are two ways to list them: ``delegates`` holds configurations, as in Multus' first releases;
``clusterNetwork`` and ``defaultNetworks`` hold names, as in today's.  With both, ``clusterNetwork``
decides, as on the Go Multus: with it ``delegates`` are ignored, without it ``defaultNetworks`` are.
``chain`` has what the node carries out for every pod after them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.conffiles import Found, by_name, first_in, load
from multus.api.delegates import delegate_from
from multus.api.errors import CNIError, InvalidConfig, NotAvailable, TryAgainLater
from multus.api.network import Delegate, Element, Plugin, Provenance, Role, Selection
from multus.api.problem import Problem, remark
from multus.api.progress import step
from multus.api.request import Request
from multus.api.session import Session
from multus.api.where import Where, within

if TYPE_CHECKING:
    from multus.api.invoker import Invoker
    from multus.api.keys import Key

NAME = "source-conffile"
CONF_DIR = "/etc/cni/multus/net.d"
#: Standard input and the files of a node belong to the node's owner.
_NODE = Provenance.NODE
SYSTEM_NAMESPACES = ("kube-system",)

#: How long an ADD waits for the readiness indicator file, and how often it looks, in seconds.
_READY_WITHIN, _LOOK_EVERY = 45.0, 0.25
_READINESS = "readinessindicatorfile"
_NOT_READY = "names {}, which is missing: the default network is not ready"
_CHAIN = "auxiliaryCNIChainName"
_READY_FIX = "start what writes the file, or correct the path"


@hookimpl
def multus_keys() -> list[Key]:
    """The keys that list networks, and those that say where they are."""
    from multus_source_conffile.keys import KEYS

    return list(KEYS)


@hookimpl
def multus_validate(conf: Conf) -> list[Problem]:
    """Every delegate must be valid, and one way to list networks should stand alone.

    The types of values are checked by the table of keys.
    """
    wrong: list[Problem] = []
    listed = conf.raw.get("delegates")
    if listed and conf.raw.get("clusterNetwork"):
        wrong.append(_ignored("delegates", "clusterNetwork"))
        listed = None
    elif listed and conf.raw.get("defaultNetworks"):
        wrong.append(_ignored("defaultNetworks", "delegates"))
    for index, each in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(each, dict):
            continue
        try:
            delegate_from(each, conf, Where("", ("delegates", index)), provenance=_NODE)
        except InvalidConfig as error:
            wrong += error.problems
    if conf.raw.get(_CHAIN):
        from multus_source_conffile import chain

        wrong += chain.problems(conf)
    return wrong


@hookimpl
def multus_select(request: Request, conf: Conf, session: Session) -> list[Selection] | None:
    """The configuration's networks, for every container, and the chain that comes after them."""
    if request.command == "ADD" and not request.dry_run:
        _wait_until_ready(conf, session)
    found = [_defaults(request, conf)]
    if conf.raw.get(_CHAIN):
        from multus_source_conffile import chain

        found.append(chain.chain(request, conf, session, NAME))
    return [each for each in found if each is not None] or None


def _defaults(request: Request, conf: Conf) -> Selection | None:
    reader = conf.reader
    cluster = reader.text("clusterNetwork")
    delegates = [] if cluster else reader.mappings("delegates")
    if delegates:
        elements = tuple(
            Element(_name(each, conf), _place(conf, index), NAME, config=each, provenance=_NODE)
            for index, each in enumerate(delegates)
        )
        return Selection(Role.DEFAULT, elements, _key("delegates"), naming="seed")
    names = [(cluster, _key("clusterNetwork"))]
    if not _is_system(request, conf):
        origin = _key("defaultNetworks")
        names += [(name, origin) for name in reader.texts("defaultNetworks")]
    elements = tuple(
        Element(name, origin, NAME, provenance=_NODE) for name, origin in names if name
    )
    return Selection(Role.DEFAULT, elements, elements[0].origin) if elements else None


@hookimpl(trylast=True)
def multus_resolve(element: Element, request: Request, conf: Conf) -> Delegate | None:
    """A configuration found by name in ``confDir``, by folder, or by path.

    Any source may have selected the element, if its provenance is the node's owner.  A name that a
    tenant wrote, in a pod's annotation for instance, must not select these files.
    """
    by_owner = element.provenance is _NODE and not element.namespace
    if not by_owner or element.config is not None:
        return None
    found = _find(element.name, conf.reader.place("confDir", CONF_DIR))
    if found is None:
        return None
    config, where = found.config, f"network configuration {found.path}"
    if element.name == conf.raw.get("clusterNetwork") and conf.reader.boolean("forceCNIVersion"):
        config = {**config, "cniVersion": conf.cni_version, "cniVersions": []}
    return delegate_from(config, conf, where, provenance=_NODE)


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | None:
    """Offer the invoker of the chain's first plugin."""
    if plugin.type != "passthru":
        return None
    from multus_source_conffile.passthru import Passthru

    return Passthru()


@hookimpl
def multus_health(conf: Conf) -> CNIError | None:
    """The readiness indicator file must exist."""
    path = conf.reader.place(_READINESS)
    if path and not os.path.exists(path):
        return NotAvailable(_NOT_READY.format(path), key=_READINESS, fix=_READY_FIX)
    return None


def _ignored(key: str, other: str) -> Problem:
    return remark(key, f"stands beside {other!r}: it is ignored", "keep one way to list networks")


def _key(name: str) -> Where:
    return Where(f"key {name!r}", (name,))


def _find(name: str, conf_dir: str) -> Found | None:
    if "/" in name:
        path = os.path.abspath(name)
        if not os.path.isabs(name) and not os.path.exists(path):
            return None
        return first_in(path) if os.path.isdir(path) else load(path)
    found = by_name(conf_dir, name)
    if found is None and name not in (".", ".."):
        found = first_in(os.path.join(conf_dir, name))
    return found


def _name(config: Mapping[str, Any], conf: Conf) -> str:
    name = config.get("name") or config.get("type")
    return name if isinstance(name, str) else conf.name


def _place(conf: Conf, index: int) -> str:
    return within(conf.reader.where, f", delegates[{index}]", "delegates", index)


def _is_system(request: Request, conf: Conf) -> bool:
    namespaces = conf.reader.texts("systemNamespaces") or SYSTEM_NAMESPACES
    return request.pod is not None and request.pod.namespace in namespaces


def _wait_until_ready(conf: Conf, session: Session) -> None:
    path = conf.reader.place(_READINESS)
    if not path:
        return
    deadline = time.monotonic() + session.remaining(_READY_WITHIN)
    with step(f"readinessindicatorfile {path}", _READY_WITHIN + 5.0, waits=True):
        while not os.path.exists(path):
            if time.monotonic() >= deadline:
                raise TryAgainLater(_NOT_READY.format(path), key=_READINESS, fix=_READY_FIX)
            time.sleep(_LOOK_EVERY)
