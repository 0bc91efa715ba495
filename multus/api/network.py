"""The values of a network in each stage: selected, resolved, attached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve, field, frozen

from multus.api._paths import is_within
from multus.api.frozen import EMPTY, frozen_each, frozen_mapping, frozen_or_none
from multus.api.keys import CAPABILITIES, ENGINE_KEYS
from multus.api.request import WITHIN
from multus.api.result import Result
from multus.api.versions import at_least

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.errors import CNIError
    from multus.api.problem import Problem
    from multus.api.progress import Spent
    from multus.api.request import Request
    from multus.api.session import Session
    from multus.log import Log


#: The source of a delegate that an outside controller attached to a running container.
OUTSIDE = "outside controller"

#: The type of the engine's own step (``multus.api.defaultroute``).
STEP = "multus-default-route"


class Provenance(Enum):
    """Who wrote a configuration; decides which paths it may name (``multus.engine.permit``)."""

    #: The owner of the node: standard input, and files on the node.
    NODE = "node"
    #: A tenant: any account that may write an object of the API, in any namespace.
    TENANT = "tenant"


class Role(Enum):
    """How a selection combines with the others, see ``multus.engine.resolve``."""

    #: The node offers these networks to every pod.
    DEFAULT = "default"
    #: The pod requested these; they replace the defaults.
    INSTEAD = "instead"
    #: The pod requested these; they come after the defaults.
    ADDED = "added"
    #: The pod requested this one; it replaces the primary default.
    EXCHANGED = "exchanged"
    #: The node carries these out for every pod, after all its networks.
    LAST = "last"


@frozen
class Element:
    """A network selection element: one requested network.

    ``origin`` is its location, for messages ("annotation k8s.v1.cni.cncf.io/networks of pod
    default/web, entry 2").  ``source`` is the name of the plugin that selected it; Multus fills it
    in when it is empty.  ``config`` is an inline configuration: such an element is not resolved.
    ``provenance`` says who wrote the configuration, or the name: only a name that the node's owner
    wrote is looked up in the node's files.  ``options`` holds the other keys of the element
    unchanged, and ``handle`` is a value of the source's own, for its ``multus_resolve``.
    ``remarks`` are faults that do not fail the request; their paths are counted from the object.

    Source: Kubernetes Network Custom Resource Definition De-facto Standard 1.3, section 4.1.2.
    """

    name: str
    origin: str
    source: str = ""
    namespace: str = ""
    interface: str = ""
    config: Mapping[str, Any] | None = field(default=None, converter=frozen_or_none, repr=False)
    options: Mapping[str, Any] = field(default=EMPTY, converter=frozen_mapping)
    handle: object = field(default=None, repr=False, eq=False)
    provenance: Provenance = Provenance.TENANT
    remarks: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@frozen
class Selection:
    """A source's selection: elements, and how they combine with other selections (``role``).

    ``origin`` names the object and key that it comes from; ``naming`` is the convention for the
    names of these networks' interfaces ("seed" or "npwg").
    """

    role: Role
    elements: tuple[Element, ...]
    origin: str
    naming: str = "npwg"


@frozen
class Plugin:
    """One plugin's configuration within a network, unchanged.

    ``invoker`` is the name of the invoker that it requests, or that attached it; empty for any.
    """

    config: Mapping[str, Any] = field(converter=frozen_mapping)
    invoker: str = ""

    @property
    def type(self) -> str:
        """The plugin's ``type``: the name of a binary, never a path."""
        return str(self.config["type"])

    @property
    def capabilities(self) -> frozenset[str]:
        """The capabilities that the plugin declares and enables."""
        return capabilities_of(self.config)

    def unknown_keys(self, known: frozenset[str]) -> tuple[str, ...]:
        """The configuration's keys that are neither the engine's nor in *known*, sorted."""
        return tuple(sorted(self.config.keys() - ENGINE_KEYS - known))


def capabilities_of(config: Mapping[str, Any]) -> frozenset[str]:
    """The capabilities that a plugin's configuration declares and enables.

    The values may also be the strings "true" and "false".
    """
    declared = config.get(CAPABILITIES.name)
    if not isinstance(declared, Mapping):
        return frozenset()
    return frozenset(name for name, on in declared.items() if on is True or on == "true")


@frozen
class Delegate:
    """A network with its configuration and its interface.

    ``name`` is the network's CNI name, ``plugins`` its chain.  ``label`` is the network's name for
    people ("default/sriov-conf"), also in the status annotation.  ``primary`` marks the one whose
    result is reported (``masterplugin`` in configurations).  ``default``: it is one of the node's
    default networks.  ``last``: it is the node's own chain after them all (``Role.LAST``).
    ``runtime_config`` is everything requested; each plugin gets the part that its ``capabilities``
    declare.  ``order`` sets ``ifname``.  ``element`` is the network as its source named it: its
    ``label`` may be another.
    ``options`` are the element's, for observers and ``multus_order``.  ``provenance`` says who
    wrote the configuration; without it, a tenant is assumed.  ``origin`` is the file or object that
    has the configuration, for messages.  ``tenant_paths`` is ``Conf.tenant_paths`` at the time of
    the attachment, None before it.

    ``args`` are added to ``CNI_ARGS`` for this network alone, with the requested ``MAC`` and ``IP``
    (``multus.engine.requests``).

    ``resource`` names the resource of which the network takes a device, ``device`` is the ID of its
    device: the one that the engine assigned (``multus_devices``), else the one that the source
    gave, else "".  ``device_info`` is the path of the file in which plugins find and leave what is
    known of the device (``multus.api.deviceinfo``), "" when none is used.
    """

    name: str
    plugins: tuple[Plugin, ...]
    cni_version: str
    label: str = ""
    source: str = ""
    element: str = ""
    ifname: str = ""
    requested_ifname: str = ""
    primary: bool = False
    default: bool = False
    last: bool = False
    runtime_config: Mapping[str, Any] = field(default=EMPTY, converter=frozen_mapping)
    args: Mapping[str, str] = field(default=EMPTY, converter=frozen_mapping)
    options: Mapping[str, Any] = field(default=EMPTY, converter=frozen_mapping)
    disable_check: bool = False
    disable_gc: bool = False
    provenance: Provenance = Provenance.TENANT
    tenant_paths: Mapping[str, tuple[str, ...]] | None = field(
        default=None, converter=frozen_or_none
    )
    resource: str = ""
    device: str = ""
    device_info: str = ""
    origin: str = field(default="", eq=False)

    def __attrs_post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name)

    @property
    def types(self) -> str:
        """The chain's types, for people: ``bridge+tuning``; without the engine's own step."""
        return "+".join(each.type for each in self.plugins if each.type != STEP)

    def serves_path(self, conf: Conf, key: str, path: str) -> bool:
        """Whether *path*, the value of *key*, may be used in-process.

        A path of the node's owner may always be used.  A tenant's must be within ``tenantPaths``,
        with the value that it had when the network was attached.
        """
        if self.provenance is Provenance.NODE:
            return True
        places = conf.tenant_paths if self.tenant_paths is None else self.tenant_paths
        return is_within(path, places.get(key, ()))

    def __str__(self) -> str:
        return f"network {self.label!r}"


@frozen
class Invocation:
    """One verb to execute for one plugin of a delegate.

    ``config`` is the plugin's configuration, complete except for ``prevResult``: name and version
    are inserted, capabilities are replaced by ``runtimeConfig``.  ``session`` has the request's
    resources; ``log`` is its log, with the network in every line.  ``valid_attachments`` is for GC:
    ``{"containerID": …, "ifname": …}`` of every attachment of this network that is still in use.
    ``inherited`` are descriptors that a started process keeps open: the container's lock is held
    until all these processes have ended.  ``delegating`` is the engine's, for
    ``multus.api.delegation``, and so is ``ipams``, for ``multus.ipam``.
    """

    verb: str
    delegate: Delegate
    plugin: Plugin
    config: Mapping[str, Any] = field(converter=frozen_mapping)
    request: Request
    conf: Conf
    session: Session = field(repr=False, eq=False)
    log: Log = field(repr=False, eq=False)
    prev_result: Result | None = None
    inherited: tuple[int, ...] = ()
    valid_attachments: tuple[Mapping[str, str], ...] = field(default=(), converter=frozen_each)
    delegating: Callable[[Invocation, Mapping[str, Any]], Any] | None = field(
        default=None, repr=False, eq=False
    )
    ipams: Callable[[str, Invocation], Iterator[Any]] | None = field(
        default=None, repr=False, eq=False
    )

    @property
    def ifname(self) -> str:
        """The name of the interface in the container."""
        return self.delegate.ifname

    @property
    def provenance(self) -> Provenance:
        """Who wrote the configuration."""
        return self.delegate.provenance

    def serves_path(self, key: str, path: str) -> bool:
        """Whether *path*, the value of *key*, may be used in-process: `Delegate.serves_path`."""
        return self.delegate.serves_path(self.conf, key, path)

    @property
    def cni_version(self) -> str:
        """The CNI version of this invocation."""
        return str(self.config["cniVersion"])

    @property
    def args(self) -> Mapping[str, str]:
        """The arguments in ``CNI_ARGS``: the runtime's, and over them this network's own."""
        return {**self.request.args, **self._own_args()}

    def _own_args(self) -> Mapping[str, str]:
        """Without several addresses in ``IP`` when ``runtimeConfig`` has them: host-local fails."""
        own = self.delegate.args
        if "," not in own.get("IP", "") or "ips" not in self.config.get("runtimeConfig", {}):
            return own
        return {key: value for key, value in own.items() if key != "IP"}

    def folders(self) -> tuple[str, ...]:
        """The folders of plugins' binaries: ``binDir``, then the runtime's ``CNI_PATH``."""
        return tuple(dict.fromkeys((self.conf.bin_dir, *self.request.path)))

    def environ(self) -> dict[str, str]:
        """The environment of a started plugin: the runtime's, with this invocation's values."""
        environ = dict(self.request.environ)
        own = [f"{key}={value}" for key, value in self._own_args().items()]
        if own:
            # At the end: plugins take the last one of several values.
            asked = environ.get("CNI_ARGS", "").rstrip(";")
            environ["CNI_ARGS"] = ";".join([asked, *own] if asked else own)
        return {
            **environ,
            WITHIN: self.request.container_id or "-",
            "CNI_COMMAND": self.verb,
            "CNI_CONTAINERID": self.request.container_id,
            "CNI_NETNS": self.request.netns,
            "CNI_IFNAME": self.ifname,
            "CNI_PATH": ":".join(self.folders()),
        }

    def wire(self) -> dict[str, Any]:
        """The plugin's stdin, decoded."""
        wire = dict(self.config)
        # Before 0.4.0 only the next plugin of a chain gets a result.
        told = self.verb == "ADD" or at_least(self.cni_version, "0.4.0")
        if self.prev_result is not None and told:
            wire["prevResult"] = self.prev_result.to_wire(self.cni_version)
        if self.verb == "GC":
            # Both spellings are in use: libcni 1.1.0 to 1.1.2 reads the second.
            wire["cni.dev/valid-attachments"] = list(self.valid_attachments)
            wire["cni.dev/attachments"] = list(self.valid_attachments)
        return wire

    def at(self, version: str) -> Invocation:
        """The same invocation in another CNI *version*."""
        return evolve(self, config={**self.config, "cniVersion": version})

    def __str__(self) -> str:
        kind = self.plugin.type
        return f"{self.verb} of {self.delegate} ({kind}, interface {self.ifname or '(none)'})"


@frozen
class Attachment:
    """A delegate that was attached to a container.

    ``versions`` holds the CNI version used with each plugin of the chain, and ``invokers`` the
    invokers' names.  ``seconds`` is the duration of ADD.  ``unserved`` says what was requested and
    is not there; only after the whole ADD of the network.
    """

    delegate: Delegate
    result: Result = field(factory=Result)
    versions: tuple[str, ...] = ()
    invokers: tuple[str, ...] = ()
    seconds: float = 0.0
    unserved: tuple[Problem, ...] = ()


class Carried(NamedTuple):
    """One verb of one delegate: its start, duration and error.

    ``started`` is in seconds since 1970, ``seconds`` a duration.  Delegates that one invoker
    detaches together share the time equally.
    """

    delegate: Delegate
    started: float
    seconds: float
    error: CNIError | None = None


class Refusal(NamedTuple):
    """A change of a running container that was not made: of which network, and why.

    ``network`` is the network's name for people, ``ifname`` its interface, "" when it has none.
    """

    network: str
    ifname: str
    error: CNIError


class Changes(NamedTuple):
    """What a change of a running container made of its networks, each in the order of its making.

    ``removed`` are detached, ``added`` attached, and ``refused`` neither.
    """

    removed: tuple[Delegate, ...] = ()
    added: tuple[Attachment, ...] = ()
    refused: tuple[Refusal, ...] = ()


@frozen
class Outcome:
    """The outcome of a command, for ``multus_finished``.

    ``command`` is CNI's, or ``ATTACH`` and ``DETACH`` for one network of a running container that
    an outside controller asked for.  ``CHANGE`` compares what a running container's sources ask
    for with what is attached: ``changes`` has the difference that it made, and ``attachments`` are
    all that the container has now.  Of a refusal that was told before, it is not told again.
    ``started`` is in seconds since 1970, ``seconds`` the duration.  ``stages`` maps a stage's name
    to its seconds.  ``delegates`` are the verbs that were started, in that order.  After a failed
    ADD, ``attachments`` has what was attached before the roll-back.  ``plugins`` has the seconds of
    each plugin's hooks, and of each invoker's verbs, up to now.
    """

    command: str
    attachments: tuple[Attachment, ...] = ()
    result: Result | None = None
    error: CNIError | None = None
    stages: Mapping[str, float] = field(default=EMPTY, converter=frozen_mapping)
    started: float = 0.0
    seconds: float = 0.0
    delegates: tuple[Carried, ...] = ()
    plugins: tuple[Spent, ...] = ()
    changes: Changes | None = None

    @property
    def failed(self) -> Delegate | None:
        """The delegate whose error the command reports, else the first that failed, else None."""
        return next((each.delegate for each in self.delegates if each.error is not None), None)
