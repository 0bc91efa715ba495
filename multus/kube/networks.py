"""Network objects: what pods chose their networks from before NetworkAttachmentDefinitions.

A Network has ``plugin``, a CNI plugin's name, and ``args``, a string that holds a JSON list of one
object: the plugin's configuration.  The same object was served under three API groups, and chosen
by two annotations; each combination is a dialect.  The sources for CustomResourceDefinitions and
for ThirdPartyResources differ in which dialects they know, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from multus.errors import DecodingFailure, InvalidConfig
from multus.jsontext import decode, decode_object
from multus.kube.failures import NotFound
from multus.kube.settings import is_label, is_object_name, problems
from multus.kube.view import view_of
from multus.model.conf import Problem
from multus.model.names import interface_problem
from multus.model.network import Element, Provenance, Role, Selection
from multus.model.reader import Reader, describe
from multus.netconf import delegate_from

if TYPE_CHECKING:
    from multus.kube.client import Wanted
    from multus.model.conf import Conf
    from multus.model.network import Delegate
    from multus.model.request import Request


@frozen
class Dialect:
    """Where Networks are read, and which annotation of a pod chooses them.

    ``namespace`` is where all Networks live, "" for the pod's own.  ``comma`` says that the
    annotation may also be ``ns/name@if,…``.
    """

    group: str
    annotation: str
    namespace: str = ""
    comma: bool = False

    def wanted(self, namespace: str, name: str) -> Wanted:
        """What to read for a Network."""
        from multus.kube.client import Wanted
        from multus.kube.transport import path_of

        where = self.namespace or namespace
        path = path_of("apis", self.group, "v1", "namespaces", where, "networks", name)
        return Wanted(path, f"network {where}/{name} ({self.group})")


FIRST = Dialect("kubernetes.com", "networks", namespace="default")
SEED = Dialect("kubernetes-network.cni.cncf.io", "networks")
SPRING = Dialect("kubernetes.cni.cncf.io", "kubernetes.v1.cni.cncf.io/networks", comma=True)

_KNOWN = {dialect.group: dialect for dialect in (FIRST, SEED, SPRING)}
_ALIASES = {"interfaceRequest": "interface"}
_KEYS = ("name", "namespace", "interface")


@frozen
class Source:
    """One plugin's part in it: its name, and the dialects that it knows.

    The key ``networkDialects`` names API groups, and narrows or reorders the dialects of all.
    """

    name: str
    dialects: tuple[Dialect, ...]

    def validate(self, conf: Conf) -> list[Problem]:
        """Problems with the keys that this source reads."""
        found = problems(conf)
        try:
            wrong = [each for each in conf.reader.texts("networkDialects") if each not in _KNOWN]
        except InvalidConfig:
            return [*found, Problem("networkDialects", "is no list of strings", "list API groups")]
        for each in wrong:
            reason = f"{each!r} is no dialect of Network objects"
            found.append(Problem("networkDialects", reason, f"use {', '.join(_KNOWN)}"))
        return found

    def select(self, request: Request, conf: Conf) -> list[Selection] | None:
        """What the pod's annotations choose; they replace the node's defaults."""
        pod, view = request.pod, view_of(request, conf)
        if pod is None or view is None:
            return None
        found = []
        for annotation in dict.fromkeys(dialect.annotation for dialect in self.dialects):
            sharing = [each for each in _order(conf) if each.annotation == annotation]
            served = [each.group for each in sharing if each in self.dialects]
            text = view.annotation(annotation) if served else None
            if text is None or not view.claim(annotation, self.name, served):
                continue
            origin = f"annotation {annotation!r} of pod {pod}"
            elements = parse(text, pod.namespace, origin, self.name, sharing[0])
            for element in elements:
                what = f"network {element.name!r}"
                view.settings.permit(element.namespace, pod.namespace, what, element.origin)
            found.append(Selection(Role.INSTEAD, elements, origin, naming="seed"))
        return found or None

    def resolve(self, element: Element, request: Request, conf: Conf) -> Delegate | None:
        """Look a chosen Network up, dialect by dialect until one answers.

        The dialects are those of all the sources that serve the annotation, so that their order is
        the same whoever is asked.
        """
        view = view_of(request, conf)
        if not isinstance(element.handle, Chosen) or view is None:
            return None
        chosen = element.handle
        missing: list[NotFound] = []
        served = view.served(chosen.annotation)
        for dialect in _order(conf):
            if dialect.annotation != chosen.annotation or dialect.group not in served:
                continue
            if not missing:
                view.read_ahead([dialect.wanted(*each) for each in chosen.together])
            found = view.definition(dialect.wanted(element.namespace, element.name))
            if not isinstance(found, NotFound):
                where = f"network {element.namespace}/{element.name} ({dialect.group})"
                label = f"{element.namespace}/{element.name}"
                config = config_of(found, where)
                return delegate_from(
                    config,
                    conf,
                    where,
                    name=element.name,
                    label=label,
                    provenance=Provenance.TENANT,
                )
            missing.append(found)
        if missing:
            raise next((each for each in missing if each.kind_known), missing[0])
        return None


def _order(conf: Conf) -> list[Dialect]:
    """The dialects in their order of looking up: the configuration's, else the oldest first."""
    wanted = conf.reader.texts("networkDialects")
    return [_KNOWN[group] for group in wanted if group in _KNOWN] or list(_KNOWN.values())


@frozen
class Chosen:
    """Marks an element as chosen by an annotation for Network objects.

    ``together`` holds namespace and name of all that the annotation chooses: they are read at the
    same time.
    """

    annotation: str
    together: tuple[tuple[str, str], ...] = ()


# --- The annotation ------------------------------------------------------------------------------


def parse(
    text: str, namespace: str, origin: str, source: str, dialect: Dialect
) -> tuple[Element, ...]:
    """The elements of an annotation; raises ``InvalidConfig`` with the entry and the fix."""
    if dialect.comma and not text.lstrip().startswith(("[", "{")):
        entries: Sequence[Any] = [
            short_form(part, f"{origin}, entry {number}")
            for number, part in enumerate(text.split(","), 1)
        ]
    else:
        entries = json_list(text, origin)
    if not entries:
        raise InvalidConfig(f"{origin} is an empty list: name a network, or remove the annotation")
    elements = [
        _element(entry, namespace, f"{origin}, entry {number}", source)
        for number, entry in enumerate(entries, 1)
    ]
    together = tuple((each.namespace, each.name) for each in elements)
    return tuple(evolve(each, handle=Chosen(dialect.annotation, together)) for each in elements)


def json_list(text: str, origin: str) -> list[Any]:
    """The annotation's JSON list."""
    try:
        entries = decode(text.encode("utf-8", "surrogatepass"), origin)
    except DecodingFailure as error:
        raise InvalidConfig(f'{error.msg}: write [{{"name": "a-network"}}]') from error
    if not isinstance(entries, list):
        raise InvalidConfig(
            f'{origin} must be a list, not {describe(entries)}: write [{{"name": "a-network"}}]'
        )
    return entries


def short_form(text: str, origin: str) -> dict[str, str]:
    """``<namespace>/<name>@<interface>`` as the keys that it stands for."""
    rest, at, interface = text.strip().partition("@")
    namespace, slash, name = rest.rpartition("/")
    if not rest:
        raise InvalidConfig(f"{origin} is empty: name a network, or remove the comma")
    if "/" in namespace or (slash and not namespace) or (at and not interface):
        raise InvalidConfig(
            f"{origin}: {text.strip()!r} is not <namespace>/<name>@<interface>, where the namespace"
            " and the interface may be left out: correct it"
        )
    entry = {"name": name}
    if namespace:
        entry["namespace"] = namespace
    if interface:
        entry["interface"] = interface
    return entry


def named(entry: Any, origin: str, namespace: str) -> tuple[Reader, str, str]:
    """An entry's reader, namespace and name, each checked."""
    if not isinstance(entry, dict):
        raise InvalidConfig(
            f'{origin} must be an object, not {describe(entry)}: write {{"name": "a-network"}}'
        )
    reader = Reader(entry, origin)
    name, where = reader.text("name"), reader.text("namespace") or namespace
    if not name:
        raise InvalidConfig(f"{origin} has no 'name': name the network")
    if not is_object_name(name):
        raise InvalidConfig(
            f"{origin}: {name!r} is no name of an object: use small letters, digits, '-' and '.',"
            " and start and end with a letter or digit"
        )
    if not is_label(where):
        raise InvalidConfig(
            f"{origin}: {where!r} is no name of a namespace: use small letters, digits and '-',"
            " at most 63"
        )
    return reader, where, name


def interface_of(reader: Reader, origin: str) -> str:
    """The interface that an entry asks for, checked; "" when it asks for none."""
    interface = reader.text("interface") or reader.text("interfaceRequest")
    problem = interface_problem(interface) if interface else None
    if problem:
        raise InvalidConfig(f"{origin}: interface {interface!r} {problem}: ask for another name")
    return interface


def _element(entry: Any, namespace: str, origin: str, source: str) -> Element:
    reader, where, name = named(entry, origin, namespace)
    unknown = sorted(reader.raw.keys() - {*_KEYS, *_ALIASES})
    if unknown:
        raise InvalidConfig(
            f"{origin}: key {unknown[0]!r} is not one that Network objects are chosen with"
            f" ({', '.join(_KEYS)}): remove it, or use k8s.v1.cni.cncf.io/networks"
        )
    return Element(
        name=name,
        namespace=where,
        origin=origin,
        source=source,
        interface=interface_of(reader, origin),
    )


# --- The object ----------------------------------------------------------------------------------


def config_of(wire: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The plugin's configuration that a Network object describes; errors name the object."""
    reader = Reader(wire, where)
    spec = reader.mapping("spec")
    if spec.get("config"):
        # The CRD of spring 2018 had the whole configuration in spec.
        return _decoded(Reader(spec, where).text("config"), f"{where}: 'spec.config'")
    if "plugin" not in wire and spec:
        reader = Reader(spec, where)
    plugin, args = reader.text("plugin"), reader.text("args")
    if not plugin:
        raise InvalidConfig(f"{where} has no 'plugin': write the name of the CNI plugin")
    config = _only_object(args, where) if args.strip() else {}
    kind = config.get("type", plugin)
    if kind != plugin:
        raise InvalidConfig(
            f"{where}: 'plugin' is {plugin!r}, and 'type' in 'args' is {kind!r}: keep 'plugin'"
        )
    return {"type": plugin, **config}


def _only_object(args: str, where: str) -> dict[str, Any]:
    """``args`` holds a list of exactly one object."""
    form = "write '[{…}]', a list of one object"
    try:
        listed = decode(args.encode("utf-8", "surrogatepass"), f"{where}: 'args'")
    except DecodingFailure as error:
        raise InvalidConfig(f"{error.msg}: {form}") from error
    if not isinstance(listed, list):
        raise InvalidConfig(f"{where}: 'args' holds {describe(listed)}: {form}")
    if len(listed) != 1:
        raise InvalidConfig(f"{where}: 'args' holds a list of {len(listed)}: {form}")
    if not isinstance(listed[0], dict):
        raise InvalidConfig(f"{where}: 'args' holds a list of {describe(listed[0])}: {form}")
    return listed[0]


def _decoded(text: str, what: str) -> dict[str, Any]:
    try:
        return decode_object(text.encode("utf-8", "surrogatepass"), what)
    except DecodingFailure as error:
        raise InvalidConfig(error.msg) from error
