"""What is written down on the node: the journal, the disk that it is on, and the clock."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator

from multus.api.errors import CNIError
from multus.cli.commands.doctor.places import Node
from multus.cli.findings import ERROR, NOTE, OK, WARNING, Finding, Place, of_error
from multus.state.journal import Journal
from multus.state.liveness import lives
from multus.state.record import Record

#: An ADD that has no answer after so many seconds was cut off.
_CUT_OFF = 600.0
_LEAST_FREE, _LITTLE_FREE = 16 << 20, 256 << 20
#: adjtimex(2): the clock is not synchronised.
_TIME_ERROR = 5


def look(node: Node) -> Iterator[Finding]:
    """The journal's records, room for more of them, and the time."""
    yield from _journal(node)
    yield from _disk(node)
    yield from _clock(node)


def _journal(node: Node) -> Iterator[Finding]:
    places, folder = node.places, node.conf.cni_dir
    if not places.exists(folder):
        yield Finding(OK, "journal", f"{folder} is not there: nothing was ever attached")
        return
    journal = Journal(places.at(folder))
    sound = 0
    try:
        for each in journal.records():
            if isinstance(each, CNIError):
                yield of_error(each, "journal")
                continue
            findings = list(_record(each, node))
            sound += not findings
            yield from findings
        for path in journal.kept_aside():
            reason = f"{path} is a damaged record, kept for people; all that it names is removed"
            yield Finding(NOTE, "journal", reason, "delete it when nobody needs it", Place(path))
        yield from _stuck(journal)
        for container_id, ifname in journal.incomplete():
            reason = f"an ADD of {container_id}, {ifname}, was killed before it attached anything"
            yield Finding(
                NOTE, "journal", reason, "nothing is to be done, 'multus gc' tidies it up"
            )
    except CNIError as error:
        yield of_error(error, "journal")
        return
    yield Finding(OK, "journal", f"{sound} sound record(s) of containers in {folder}")


def _stuck(journal: Journal) -> Iterator[Finding]:
    """What was given up: it may still have interfaces, rules or devices on the node."""
    for path, found in journal.stuck():
        what = found.said if isinstance(found, CNIError) else _given_up(found)
        reason = f"{path} is the record of what could not be removed and was given up: {what}"
        fix = "look for what is left of it on this node, remove it by hand, then delete the file"
        yield Finding(ERROR, "journal", reason, fix, Place(path))


def _given_up(record: Record) -> str:
    networks = [
        f"{delegate} ({delegate.types}, {delegate.ifname})"
        for delegate in (record.planned[index].delegate for index in sorted(record.failures))
    ]
    return f"{', '.join(networks)} of {record.request}"


def _record(record: Record, node: Node) -> Iterator[Finding]:
    request = record.request
    who = f"{request}, interface {request.ifname}"
    if record.damage:
        reason = f"the record of {who} is damaged: {record.damage}"
        fix = "its DEL removes what can be read; 'multus gc' does so when it is dead"
        yield Finding(WARNING, "journal", reason, fix, Place(record.path), code=105)
    for index, failures in record.failures.items():
        delegate = record.planned[index].delegate
        reason = f"removing {delegate} of {who} failed {failures.times} times"
        fix = "the log says why; the next DEL or 'multus gc' tries again"
        yield Finding(WARNING, "journal", reason, fix, Place(record.path))
    if request.netns and not lives(record, node.places.root):
        reason = f"{who} has no network namespace any more ({request.netns}): its DEL never came"
        fix = "run 'multus gc': its addresses and interfaces are freed"
        yield Finding(WARNING, "journal", reason, fix, Place(record.path))
    elif record.result is None and time.time() - record.started > _CUT_OFF:
        reason = f"the ADD of {who} was cut off"
        fix = "the runtime's DEL undoes it, or 'multus gc'"
        yield Finding(WARNING, "journal", reason, fix, Place(record.path))


def _disk(node: Node) -> Iterator[Finding]:
    path = node.places.at(node.conf.cni_dir)
    while path != "/" and not os.path.exists(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize
    megabytes = f"{free >> 20} MB are free under {path}"
    if free < _LEAST_FREE:
        yield Finding(ERROR, "disk", f"{megabytes}: an ADD fails", "free some space", code=5)
    elif free < _LITTLE_FREE:
        yield Finding(WARNING, "disk", f"only {megabytes}", "free some space")
    elif found.f_files and found.f_favail < 1000:
        reason = f"only {found.f_favail} inodes are free under {path}"
        yield Finding(WARNING, "disk", reason, "delete small files that nobody needs")
    else:
        yield Finding(OK, "disk", megabytes)


def _clock(node: Node) -> Iterator[Finding]:
    newest = _newest(node)
    if newest > time.time() + 60:
        reason = f"the clock is {int(newest - time.time())} s behind what was written before"
        fix = "set it: certificates and tokens are refused when it is wrong"
        yield Finding(ERROR, "clock", reason, fix)
    elif _unsynchronised():
        reason = "the kernel says that nothing keeps the clock right"
        fix = "start chrony or systemd-timesyncd, on the host when this is a virtual machine"
        yield Finding(NOTE, "clock", reason, fix)
    else:
        yield Finding(OK, "clock", "it is synchronised")


def _newest(node: Node) -> float:
    """The latest moment that a file of Multus' was written at."""
    newest = 0.0
    for folder in (node.places.net_d, node.conf.cni_dir):
        try:
            with os.scandir(node.places.at(folder)) as entries:
                stamps = [each.stat(follow_symlinks=False).st_mtime for each in entries]
        except OSError:
            continue  # told elsewhere
        newest = max([newest, *stamps])
    return newest


def _unsynchronised() -> bool:
    buffer = ctypes.create_string_buffer(512)  # struct timex, all zero: read only
    return int(ctypes.CDLL(None).adjtimex(buffer)) == _TIME_ERROR
