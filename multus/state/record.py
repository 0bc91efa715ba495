"""What the journal says of one container and interface.

``applied`` reads a line of its file; ``multus.state.lines`` writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve, field, frozen

from multus.api.network import Attachment, Delegate, Plugin, Provenance
from multus.api.reader import Reader
from multus.api.request import Request, parse_args
from multus.api.result import Result

if TYPE_CHECKING:
    from multus.api.invoker import Invoker


#: The source of a delegate that the Go Multus attached.
OF_THE_GO_MULTUS = "the Go Multus"


@frozen
class Step:
    """A plugin of a planned delegate: the configuration that it gets, and its invoker's name.

    A step that ``leaves_nothing`` needs no DEL and no GC: its invoker said so when it was planned.
    ``chosen`` is the invoker itself, in the process that planned the step; it is not recorded.
    """

    plugin: Plugin
    config: Mapping[str, Any]
    invoker: str
    leaves_nothing: bool = False
    chosen: Invoker | None = field(default=None, eq=False, repr=False)


class Planned(NamedTuple):
    """A delegate and the steps of its chain, in the order of ADD."""

    delegate: Delegate
    steps: tuple[Step, ...]


class Failures(NamedTuple):
    """How often removing a delegate failed, and when it first did (seconds since 1970)."""

    times: int
    first: float


@frozen
class Record:
    """What the journal says of one container and interface.

    * ``request``: the DEL that undoes it; ``conf``: Multus' configuration, without the keys that
      belong to single requests;
    * ``planned``: the delegates by index; ``expected``: how many there were, None when unknown;
    * ``done``: the attachments by index.  One has fewer ``versions`` than its chain has steps when
      its ADD did not end;
    * ``gone``: the indexes of those that were detached; ``failures``: by index, the removals that
      failed; ``trying``: the indexes of those whose last removal did not end;
    * ``changing``: the indexes of those whose attachment to the running container, or whose removal
      from it, did not end;
    * ``started``: when the ADD began (seconds since 1970);
    * ``netns_identity``: the container's namespace (``multus.state.liveness``);
    * ``boot``: the boot of the node in which it was written, empty when it is not known;
    * ``result``: the answer of the ADD; None when it gave none, or when a removal has begun since;
    * ``damage``: what of the file could not be read; empty when nothing;
    * ``unbegun``: whether the power was cut while the intent was written, so before anything was
      attached.
    """

    path: str
    request: Request
    conf: Mapping[str, Any] = field(factory=dict, repr=False)
    planned: Mapping[int, Planned] = field(factory=dict)
    expected: int | None = None
    started: float = 0.0
    netns_identity: str = ""
    boot: str = ""
    done: Mapping[int, Attachment] = field(factory=dict)
    gone: frozenset[int] = frozenset()
    failures: Mapping[int, Failures] = field(factory=dict)
    trying: frozenset[int] = frozenset()
    changing: frozenset[int] = frozenset()
    result: Result | None = None
    damage: str = ""
    unbegun: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The container's ID and the interface that the runtime asked for."""
        return self.request.container_id, self.request.ifname

    @property
    def network(self) -> str:
        """The name of Multus' own network; empty when the record does not say it."""
        return str(self.conf.get("name", ""))

    @property
    def complete(self) -> bool:
        """Whether every delegate of the intent is known."""
        return len(self.planned) == self.expected

    def left(self) -> list[int]:
        """The indexes of the delegates that may still exist, in order."""
        return [index for index in sorted(self.planned) if index not in self.gone]

    def standing(self) -> list[int]:
        """The indexes of the delegates whose whole chain is attached, in order."""
        attached = [
            index for index in self.left() if index in self.done and index not in self.changing
        ]
        steps = {index: len(self.planned[index].steps) for index in attached}
        return [index for index in attached if len(self.done[index].versions) == steps[index]]

    def attachments(self) -> tuple[Attachment, ...]:
        """The attachments of the standing delegates, in order of invocation."""
        return tuple(self.done[index] for index in self.standing())


# --- Lines ---------------------------------------------------------------------------------------


def applied(record: Record, line: Mapping[str, Any]) -> Record:
    """*record* with what one more line says.

    Raises ``ValueError``, or an error of ``multus.api.errors``, for a line that is malformed.
    """
    reader = Reader(line, "it")
    kind = reader.text("kind")
    if kind == "intent":
        return _with_intent(record, reader)
    if kind == "finished":
        return evolve(record, result=Result.from_wire(reader.mapping("result"), recorded=True))
    if kind == "removing":
        return evolve(record, result=None)
    index = reader.integer("delegate", -1)
    if kind in ("delegate", "attaching") and index >= 0:
        planned = {**record.planned, index: _planned(reader)}
        known = evolve(record, planned=planned)
        return known if kind == "delegate" else _with_one_more(known, index)
    if index not in record.planned:
        raise ValueError(f"delegate {index} is not known")
    change = _CHANGES.get(kind)
    if change is None:
        raise ValueError(f"unknown kind {kind!r}")
    return change(record, index, reader)


def _with_attachment(record: Record, index: int, reader: Reader) -> Record:
    attachment = _attachment(record.planned[index], reader)
    return evolve(record, done={**record.done, index: attachment})


def _joined(record: Record, index: int, _reader: Reader) -> Record:
    return evolve(record, changing=record.changing - {index})


def _detaching(record: Record, index: int, _reader: Reader) -> Record:
    return evolve(record, changing=record.changing | {index})


def _without(record: Record, index: int, _reader: Reader) -> Record:
    """A delegate is gone: that removing it failed before, or began, does not matter any more."""
    failures = {each: known for each, known in record.failures.items() if each != index}
    return evolve(
        record,
        gone=record.gone | {index},
        failures=failures,
        trying=record.trying - {index},
        changing=record.changing - {index},
    )


def _with_one_more(record: Record, index: int) -> Record:
    """A delegate beyond those of the ADD; until it has joined, it is not a standing one."""
    return evolve(
        record,
        expected=None if record.expected is None else record.expected + 1,
        changing=record.changing | {index},
    )


def _with_failure(record: Record, index: int, reader: Reader) -> Record:
    """A removal counts as failed once it has begun: a killed one writes no other line."""
    if reader.text("kind") == "failed" and index in record.trying:
        return evolve(record, trying=record.trying - {index})
    known = record.failures.get(index) or Failures(0, reader.number("at"))
    failures = {**record.failures, index: known._replace(times=known.times + 1)}
    begun = frozenset({index} if reader.text("kind") == "trying" else ())
    return evolve(record, failures=failures, trying=record.trying | begun)


#: How a line about a known delegate changes the record, by its kind.
_CHANGES: Mapping[str, Callable[[Record, int, Reader], Record]] = {
    "attached": _with_attachment,
    "joined": _joined,
    "detaching": _detaching,
    "detached": _without,
    "trying": _with_failure,
    "failed": _with_failure,
}


def _with_intent(record: Record, reader: Reader) -> Record:
    request = record.request
    if (reader.text("container"), reader.text("ifname")) != record.key:
        raise ValueError(f"it belongs to container {reader.text('container')!r}")
    args = reader.text("args")
    return evolve(
        record,
        request=restored(request, reader.text("netns"), tuple(reader.texts("path")), args),
        conf=reader.mapping("conf"),
        expected=reader.integer("delegates"),
        started=reader.number("started"),
        netns_identity=reader.text("netnsIdentity"),
        boot=reader.text("boot"),
    )


def restored(request: Request, netns: str, path: Sequence[str], args: str) -> Request:
    """The DEL that undoes the ADD whose netns, ``CNI_PATH`` and ``CNI_ARGS`` these were."""
    environ = {
        "CNI_CONTAINERID": request.container_id,
        "CNI_NETNS": netns,
        "CNI_IFNAME": request.ifname,
        "CNI_PATH": ":".join(path),
        "CNI_ARGS": args,
    }
    asked = parse_args(args)
    return evolve(
        request, command="DEL", netns=netns, path=tuple(path), args=asked, environ=environ
    )


def _planned(reader: Reader) -> Planned:
    steps = tuple(_step(Reader(each, "a step")) for each in reader.mappings("steps"))
    if not steps:
        raise ValueError("a delegate has no steps")
    delegate = Delegate(
        name=_needed(reader, "name"),
        plugins=tuple(step.plugin for step in steps),
        cni_version=_needed(reader, "cniVersion"),
        label=reader.text("label"),
        source=reader.text("source"),
        element=reader.text("element"),
        ifname=_needed(reader, "ifname"),
        requested_ifname=_requested(reader),
        primary=reader.boolean("primary"),
        default=reader.boolean("default"),
        last=reader.boolean("last"),
        args=_args(reader),
        options=reader.mapping("options"),
        disable_check=reader.boolean("disableCheck"),
        disable_gc=reader.boolean("disableGC"),
        provenance=_provenance(reader),
        tenant_paths=_places(reader),
        resource=reader.text("resource"),
        device=reader.text("device"),
        device_info=reader.text("deviceInfo"),
    )
    return Planned(delegate, steps)


def _requested(reader: Reader) -> str:
    """The interface's name that was asked for; earlier releases kept only an element's own keys."""
    options = reader.mapping("options")
    named = [reader.text("requested"), options.get("interface"), options.get("interfaceRequest")]
    return next((each for each in named if isinstance(each, str) and each), "")


def _provenance(reader: Reader) -> Provenance:
    """Earlier releases did not write it, and carried every delegate out as the node's."""
    return Provenance(reader.text("provenance", Provenance.NODE.value))


def _args(reader: Reader) -> dict[str, str]:
    args = reader.inner("args")
    return {key: args.text(key) for key in args.raw}


def _places(reader: Reader) -> Mapping[str, tuple[str, ...]] | None:
    if reader.raw.get("tenantPaths") is None:
        return None
    places = Reader(reader.mapping("tenantPaths"), "tenantPaths")
    return {key: tuple(places.texts(key)) for key in places.raw}


def _step(reader: Reader) -> Step:
    config, invoker = reader.mapping("config"), reader.text("invoker")
    _needed(Reader(config, "a configuration"), "type")
    _needed(Reader(config, "a configuration"), "cniVersion")
    return Step(Plugin(config, invoker), config, invoker, reader.boolean("leavesNothing"))


def _attachment(planned: Planned, reader: Reader) -> Attachment:
    versions, invokers = tuple(reader.texts("versions")), tuple(reader.texts("invokers"))
    if not 0 < len(versions) == len(invokers) <= len(planned.steps):
        raise ValueError("it does not fit this delegate's chain")
    return Attachment(
        delegate=planned.delegate,
        result=Result.from_wire(reader.mapping("result"), recorded=True),
        versions=versions,
        invokers=invokers,
        seconds=reader.number("seconds"),
    )


def _needed(reader: Reader, key: str) -> str:
    text = reader.text(key)
    if not text:
        raise ValueError(f"{reader.where} has no {key!r}")
    return text
