"""What the journal holds of one container and interface, and its lines.

The values are what the engine works with; ``*_wire`` and ``read_*`` are their JSON forms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from multus.api.network import Attachment, Delegate, Plugin, Provenance
from multus.api.reader import Reader
from multus.api.request import Request, parse_args
from multus.api.result import Result

#: The version of the lines written here.
FORMAT = 1

#: The line of a DEL that has begun.
REMOVING: Mapping[str, Any] = {"kind": "removing"}


@frozen
class Step:
    """A plugin of a planned delegate: the configuration that it gets, and who carries it out.

    One that ``leaves_nothing`` needs no DEL and no GC: its invoker said so when it was planned.
    """

    plugin: Plugin
    config: Mapping[str, Any]
    invoker: str
    leaves_nothing: bool = False


@frozen
class Planned:
    """A delegate about to be invoked: its chain's steps in order."""

    delegate: Delegate
    steps: tuple[Step, ...]


@frozen
class Failures:
    """How often a delegate's removal failed, and when it did first (seconds since 1970)."""

    count: int
    first: float


@frozen
class Record:
    """What is known of one container and interface.

    ``request`` is the one to undo it with; ``conf`` is Multus' configuration without what belongs
    to single requests.  ``planned`` maps a delegate's index to it, and ``expected`` is how many
    there were; ``done`` maps it to its attachment, which has fewer ``versions`` than its chain has
    steps while that is under way; ``gone`` holds the indexes of those that were detached, and
    ``failures`` says how often removing one was tried in vain; ``trying`` are those whose last
    attempt was cut off.
    ``netns_identity`` is the device and inode of the container's namespace.  ``result`` is the
    answer of the ADD, None when it never gave one, or when a DEL has begun since.  ``damage`` says
    what of the file could not be read, empty when nothing.
    """

    path: str
    request: Request
    conf: Mapping[str, Any] = field(factory=dict, repr=False)
    planned: Mapping[int, Planned] = field(factory=dict)
    expected: int | None = None
    started: float = 0.0
    netns_identity: str = ""
    done: Mapping[int, Attachment] = field(factory=dict)
    gone: frozenset[int] = frozenset()
    failures: Mapping[int, Failures] = field(factory=dict)
    trying: frozenset[int] = frozenset()
    result: Result | None = None
    damage: str = ""

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
        """Whether every delegate that was to be invoked is known."""
        return len(self.planned) == self.expected

    def left(self) -> list[int]:
        """The indexes of the delegates that may still be there, in order."""
        return [index for index in sorted(self.planned) if index not in self.gone]

    def standing(self) -> list[int]:
        """The indexes of the delegates whose whole chain is carried out, in order."""
        return [
            index
            for index in self.left()
            if index in self.done
            and len(self.done[index].versions) == len(self.planned[index].steps)
        ]

    def attachments(self) -> tuple[Attachment, ...]:
        """The attachments that stand, in order of invocation."""
        return tuple(self.done[index] for index in self.standing())


# --- Written -------------------------------------------------------------------------------------


def intent_wire(
    request: Request, conf: Mapping[str, Any], count: int, started: float, netns_identity: str
) -> dict[str, Any]:
    """The first line: who asks, and how many ``delegate`` lines follow."""
    return {
        "kind": "intent",
        "format": FORMAT,
        "started": round(started, 3),
        "container": request.container_id,
        "ifname": request.ifname,
        "netns": request.netns,
        "netnsIdentity": netns_identity,
        "path": list(request.path),
        "args": request.environ.get("CNI_ARGS", ""),
        "conf": conf,
        "delegates": count,
    }


def planned_wire(index: int, planned: Planned) -> dict[str, Any]:
    """A delegate about to be invoked: a line of its own, so that damage to one costs one."""
    delegate = planned.delegate
    return {
        "kind": "delegate",
        "delegate": index,
        "name": delegate.name,
        "cniVersion": delegate.cni_version,
        "label": delegate.label,
        "source": delegate.source,
        "ifname": delegate.ifname,
        "primary": delegate.primary,
        "default": delegate.default,
        "provenance": delegate.provenance.value,
        "disableCheck": delegate.disable_check,
        "disableGC": delegate.disable_gc,
        "options": delegate.options,
        **_places_wire(delegate),
        "steps": [_step_wire(step) for step in planned.steps],
    }


def _step_wire(step: Step) -> dict[str, Any]:
    wire = {"config": step.config, "invoker": step.invoker}
    return {**wire, "leavesNothing": True} if step.leaves_nothing else wire


def _places_wire(delegate: Delegate) -> dict[str, Any]:
    places = delegate.tenant_paths
    return {} if places is None else {"tenantPaths": {k: list(v) for k, v in places.items()}}


def attached_wire(index: int, attachment: Attachment) -> dict[str, Any]:
    """How far a delegate's chain has come: a line after each of its steps."""
    return {
        "kind": "attached",
        "delegate": index,
        "result": attachment.result.to_wire("1.1.0"),
        "versions": list(attachment.versions),
        "invokers": list(attachment.invokers),
        "seconds": round(attachment.seconds, 6),
    }


def detached_wire(index: int) -> dict[str, Any]:
    """A delegate is gone, while others could not be removed."""
    return {"kind": "detached", "delegate": index}


def trying_wire(index: int, at: float) -> dict[str, Any]:
    """Removing a delegate is tried once more; what cuts it off is its failure."""
    return {"kind": "trying", "delegate": index, "at": round(at, 3)}


def failed_wire(index: int, error: str, at: float) -> dict[str, Any]:
    """Removing a delegate failed; the beginning of the *error* is for people."""
    return {"kind": "failed", "delegate": index, "error": error[:500], "at": round(at, 3)}


def finished_wire(result: Result) -> dict[str, Any]:
    """The answer that the runtime got."""
    return {"kind": "finished", "result": result.to_wire("1.1.0")}


# --- Read ----------------------------------------------------------------------------------------


def applied(record: Record, line: Mapping[str, Any]) -> Record:
    """*record* with what one more line says.

    Raises ``ValueError`` or an error of ``multus.api.errors`` for a line that cannot be one.
    """
    reader = Reader(line, "it")
    kind = reader.text("kind")
    if kind == "intent":
        return _with_intent(record, reader)
    if kind == "finished":
        return evolve(record, result=Result.from_wire(reader.mapping("result")))
    if kind == "removing":
        return evolve(record, result=None)
    index = reader.integer("delegate", -1)
    if kind == "delegate" and index >= 0:
        return evolve(record, planned={**record.planned, index: _planned(reader)})
    if index not in record.planned:
        raise ValueError(f"delegate {index} is not known")
    if kind == "attached":
        attachment = _attachment(record.planned[index], reader)
        return evolve(record, done={**record.done, index: attachment})
    if kind == "detached":
        return evolve(record, gone=record.gone | {index})
    if kind in ("trying", "failed"):
        return _with_failure(record, index, reader)
    raise ValueError(f"unknown kind {kind!r}")


def _with_failure(record: Record, index: int, reader: Reader) -> Record:
    """An attempt counts as failed from its beginning: one that was cut off has no other line."""
    if reader.text("kind") == "failed" and index in record.trying:
        return evolve(record, trying=record.trying - {index})
    known = record.failures.get(index) or Failures(0, reader.number("at"))
    failures = {**record.failures, index: evolve(known, count=known.count + 1)}
    begun = frozenset({index} if reader.text("kind") == "trying" else ())
    return evolve(record, failures=failures, trying=record.trying | begun)


def _with_intent(record: Record, reader: Reader) -> Record:
    request = record.request
    if (reader.text("container"), reader.text("ifname")) != record.key:
        raise ValueError(f"it is of container {reader.text('container')!r}")
    args = reader.text("args")
    return evolve(
        record,
        request=restored(request, reader.text("netns"), tuple(reader.texts("path")), args),
        conf=reader.mapping("conf"),
        expected=reader.integer("delegates"),
        started=reader.number("started"),
        netns_identity=reader.text("netnsIdentity"),
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
    return evolve(
        request,
        command="DEL",
        netns=netns,
        path=tuple(path),
        args=parse_args(args),
        environ=environ,
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
        ifname=_needed(reader, "ifname"),
        primary=reader.boolean("primary"),
        default=reader.boolean("default"),
        options=reader.mapping("options"),
        disable_check=reader.boolean("disableCheck"),
        disable_gc=reader.boolean("disableGC"),
        provenance=_provenance(reader),
        tenant_paths=_places(reader),
    )
    return Planned(delegate, steps)


def _provenance(reader: Reader) -> Provenance:
    """Records of releases that did not write it read as the node's: so they were carried out."""
    return Provenance(reader.text("provenance", Provenance.NODE.value))


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
        raise ValueError("it is not of this delegate's chain")
    return Attachment(
        delegate=planned.delegate,
        result=Result.from_wire(reader.mapping("result")),
        versions=versions,
        invokers=invokers,
        seconds=reader.number("seconds"),
    )


def _needed(reader: Reader, key: str) -> str:
    text = reader.text(key)
    if not text:
        raise ValueError(f"{reader.where} has no {key!r}")
    return text
