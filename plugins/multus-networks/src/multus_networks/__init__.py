"""The shared code of the sources of Network objects, which differ only in their dialects.

A pod's annotation chooses Networks; each element is looked up in one dialect after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from multus.api.delegates import delegate_from
from multus.api.errors import InvalidConfig
from multus.api.kubernetes import (
    MAX_NETWORKS,
    PODS,
    SHARED_KEYS,
    ApiUse,
    NotFound,
    annotation_of,
    entry_of,
    interface_of,
    json_list,
    named,
    problems,
    short_list,
    shown,
    view_of,
)
from multus.api.kubernetes.networks import DIALECTS, SEED, Dialect, config_of, holder_of
from multus.api.network import Element, Provenance, Role, Selection
from multus.api.spelling import Spelling
from multus.api.where import Where, path_of

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.keys import Key
    from multus.api.kubernetes import ObjectRef, View
    from multus.api.network import Delegate
    from multus.api.problem import Problem
    from multus.api.request import Request
    from multus.api.session import Session

_ALIASES = {"interfaceRequest": "interface"}
_KEYS = ("name", "namespace", "interface")
_SPELLING = Spelling((*_KEYS, *_ALIASES))


@frozen
class Source:
    """One source plugin: its name, and the dialects that it knows.

    The key ``networkDialects`` names API groups; it limits and orders the dialects of all sources.
    """

    name: str
    dialects: tuple[Dialect, ...]

    def keys(self) -> list[Key]:
        """The keys for the API server, and the dialects."""
        from multus.api.keys import TEXTS, Key

        text = (
            "The API groups in which Network objects are looked up, in this order; the default is"
            " all groups that the installed sources know."
        )
        return [*SHARED_KEYS, Key("networkDialects", TEXTS, text, choices=tuple(DIALECTS))]

    def api_uses(self) -> list[ApiUse]:
        """The objects that this source reads: pods, and Networks of all its dialects."""
        uses = [ApiUse("get", PODS, "no pod can be attached")]
        for dialect in self.dialects:
            usual = dialect == SEED
            consequence = "pods that choose such a network are refused"
            cached = ("plugin", "args", "spec") if usual else ()
            uses.append(ApiUse("get", dialect.resource, consequence, required=usual, cached=cached))
        return uses

    def validate(self, conf: Conf) -> list[Problem]:
        """Problems with the keys that this source reads."""
        return problems(conf)

    def select(self, request: Request, conf: Conf, session: Session) -> list[Selection] | None:
        """The networks that the pod's annotations choose; they replace the node's defaults."""
        pod = request.pod
        view = view_of(request, conf, session) if pod else None
        if pod is None or view is None:
            return None
        found = []
        for annotation in dict.fromkeys(dialect.annotation for dialect in self.dialects):
            sharing = [each for each in _order(conf) if each.annotation == annotation]
            served = [each.group for each in sharing if each in self.dialects]
            text = view.annotation(annotation) if served else None
            if text is None or not view.claim(annotation, self.name, served):
                continue
            origin = annotation_of(annotation, str(pod))
            most = view.settings.max_networks
            elements = parse(text, pod.namespace, origin, self.name, sharing[0], most)
            found.append(Selection(Role.INSTEAD, elements, origin, naming="seed"))
        return found or None

    def resolve(
        self, element: Element, request: Request, conf: Conf, session: Session
    ) -> Delegate | None:
        """Look up a chosen Network, in one dialect after the other until one has it.

        The dialects are those of all sources that serve the annotation, so the order does not
        depend on the source.  A dialect whose namespace the pod may not use is skipped.
        """
        view = view_of(request, conf, session)
        if not isinstance(element.handle, Chosen) or view is None:
            return None
        chosen = element.handle
        missing: list[NotFound] = []
        refused: list[ObjectRef] = []
        served = view.served(chosen.annotation)
        for dialect in _order(conf):
            if dialect.annotation != chosen.annotation or dialect.group not in served:
                continue
            wanted = dialect.wanted(element.namespace, element.name)
            if not view.permits(wanted):
                refused.append(wanted)
                continue
            if not missing:
                together = (dialect.wanted(*each) for each in chosen.together)
                allowed = (each for each in together if view.permits(each))
                view.read_ahead_once(dialect, allowed)
            found = view.chosen(wanted, element.origin)
            if not isinstance(found, NotFound):
                where = str(wanted)
                place = Where(where, holder_of(found))
                label = f"{element.namespace}/{element.name}"
                config = config_of(found, where)
                return delegate_from(
                    config,
                    conf,
                    place,
                    name=element.name,
                    label=label,
                    provenance=Provenance.TENANT,
                )
            missing.append(found)
        _refuse(view, element, refused, missing)
        return None


def _refuse(
    view: View, element: Element, refused: Sequence[ObjectRef], missing: Sequence[NotFound]
) -> None:
    """Raise the reason why no dialect has the network: not permitted, or not found."""
    known = [each for each in missing if each.kind_known]
    # The pod named an allowed namespace; a dialect's fixed namespace is not the pod's choice.
    asked = [each for each in refused if each.namespace == element.namespace]
    if asked or (refused and not known):
        view.require((asked or refused)[0], element.origin)
    if missing:
        raise (known or missing)[0]


def _order(conf: Conf) -> list[Dialect]:
    """The dialects in look-up order: the configuration's, else the oldest first."""
    wanted = conf.reader.texts("networkDialects")
    return [DIALECTS[group] for group in wanted if group in DIALECTS] or list(DIALECTS.values())


@frozen
class Chosen:
    """Marks an element as chosen by an annotation for Network objects.

    ``together`` holds namespace and name of all networks of the annotation: they are read at the
    same time.  All elements of an annotation share one mark.
    """

    annotation: str
    together: tuple[tuple[str, str], ...] = ()


# --- The annotation ------------------------------------------------------------------------------


def parse(
    text: str,
    namespace: str,
    origin: str,
    source: str,
    dialect: Dialect,
    most: int = MAX_NETWORKS,
) -> tuple[Element, ...]:
    """The elements of an annotation, at most *most*; an ``InvalidConfig`` has entry and fix."""
    if dialect.comma and not text.lstrip().startswith(("[", "{")):
        entries: Sequence[Any] = short_list(text, origin, most)
    else:
        entries = json_list(text, origin, most)
    if not entries:
        raise InvalidConfig(
            f"{origin} is an empty list",
            path=path_of(origin),
            fix="name a network, or remove the annotation",
        )
    elements = [
        _element(entry, namespace, entry_of(origin, index), source)
        for index, entry in enumerate(entries)
    ]
    together = tuple((each.namespace, each.name) for each in elements)
    chosen = Chosen(dialect.annotation, together)
    return tuple(evolve(each, handle=chosen) for each in elements)


def _element(entry: Any, namespace: str, origin: str, source: str) -> Element:
    reader, where, name = named(entry, origin, namespace, _SPELLING)
    unknown = min(reader.raw.keys() - {*_KEYS, *_ALIASES}, default=None)
    if unknown is not None:
        raise InvalidConfig(
            f"key {shown(unknown)} is not one that Network objects are chosen with"
            f" ({', '.join(_KEYS)})",
            where=origin,
            path=(unknown,),
            fix="remove it, or use k8s.v1.cni.cncf.io/networks",
        )
    return Element(
        name=name,
        namespace=where,
        origin=origin,
        source=source,
        interface=interface_of(reader),
    )
