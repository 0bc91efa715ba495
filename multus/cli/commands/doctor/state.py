"""Checks the journal, free disk space, and the clock."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import suppress

from multus.api.errors import CNIError
from multus.cli.commands.doctor.places import Node
from multus.cli.findings import (
    AS_ROOT,
    ERROR,
    NOT_APPLICABLE,
    NOTE,
    OK,
    UNCHECKED,
    WARNING,
    Finding,
    Place,
    of_error,
)
from multus.cli.looking import Look
from multus.cli.recent import failed_requests
from multus.healing.look import why_gone
from multus.state.journal import Journal
from multus.state.record import Record

#: An ADD without an answer after this many seconds was interrupted.
_CUT_OFF = 600.0
_LEAST_FREE, _LITTLE_FREE = 16 << 20, 256 << 20
#: adjtimex(2): the clock is not synchronised.
_TIME_ERROR = 5


def look(node: Node) -> Iterator[Finding]:
    """Check the journal's records, disk space, and the clock."""
    yield from _journal(node)
    yield from failed_requests(node.places.at(node.conf.cni_dir))
    yield from disk(node)
    yield from _clock(node)


def _journal(node: Node) -> Iterator[Finding]:
    places, folder = node.places, node.conf.cni_dir
    sight = Look("journal")
    if node.unread is not None:
        reason = f"looked at {folder} alone: the configuration, which names 'cniDir', was not read"
        sight.miss(reason)
    if not sight.is_there(places.at(folder)):
        none = Finding(NOT_APPLICABLE, "journal", f"{folder} does not exist: nothing was attached")
        yield from sight.missed or [none]
        return
    journal = Journal(places.at(folder))
    sound: list[Record] = []
    found = list(_in_journal(journal, node, sound))
    yield from sight.concluded(found, f"{len(sound)} valid record(s) of containers in {folder}")


def _in_journal(journal: Journal, node: Node, sound: list[Record]) -> Iterator[Finding]:
    """What is wrong in the journal; records without a fault are added to *sound*."""
    try:
        for each in journal.records():
            if isinstance(each, CNIError):
                yield of_error(each, "journal")
                continue
            findings = list(about_record(each, node))
            sound += [] if findings else [each]
            yield from findings
        for path in journal.kept_aside():
            reason = f"{path} is a damaged record, kept for analysis; its attachments were removed"
            yield Finding(
                NOTE, "journal", reason, "delete it when you no longer need it", Place(path)
            )
        yield from _stuck(journal)
        for container_id, ifname in journal.incomplete():
            reason = f"an ADD of {container_id}, {ifname}, was killed before it attached anything"
            yield Finding(
                NOTE, "journal", reason, "no action needed; 'multus gc' removes the record"
            )
    except CNIError as error:
        yield of_error(error, "journal")


def _stuck(journal: Journal) -> Iterator[Finding]:
    """Records that removal gave up on: their interfaces, rules or devices may still exist."""
    for path, found in journal.stuck():
        what = found.said if isinstance(found, CNIError) else _given_up(found)
        reason = f"{path}: Multus gave up removing {what}"
        fix = "find and remove its interfaces, rules and devices by hand, then delete the file"
        yield Finding(ERROR, "journal", reason, fix, Place(path))


def _given_up(record: Record) -> str:
    networks = [
        f"{delegate} ({delegate.types}, {delegate.ifname})"
        for delegate in (record.planned[index].delegate for index in sorted(record.failures))
    ]
    return f"{', '.join(networks)} of {record.request}"


def about_record(record: Record, node: Node) -> Iterator[Finding]:
    """What is wrong with a record, and with its container."""
    request = record.request
    who = f"{request}, interface {request.ifname}"
    if record.damage:
        reason = f"the record of {who} is damaged: {record.damage}"
        fix = "DEL removes what is readable; so does 'multus gc' when the container is gone"
        yield Finding(WARNING, "journal", reason, fix, Place(record.path), code=105)
    for index, failures in record.failures.items():
        delegate = record.planned[index].delegate
        reason = f"removing {delegate} of {who} failed {failures.times} times"
        fix = "the log has the reason; the next DEL or 'multus gc' retries"
        yield Finding(WARNING, "journal", reason, fix, Place(record.path))
    gone = why_gone(record, node.places.root)
    if gone:
        reason = f"{who}: {gone} ({request.netns or 'none'}), and DEL never arrived"
        fix = "run 'multus gc' to free its addresses and interfaces"
        yield Finding(WARNING, "journal", reason, fix, Place(record.path))
    elif record.result is None and time.time() - record.started > _CUT_OFF:
        reason = f"the ADD of {who} was interrupted"
        fix = "the runtime's DEL or 'multus gc' undoes it"
        yield Finding(WARNING, "journal", reason, fix, Place(record.path))


def disk(node: Node) -> Iterator[Finding]:
    """Whether the journal can be written: space, inodes, a writable file system."""
    path = node.places.at(node.conf.cni_dir)
    while path != "/" and not os.path.exists(path):
        path = os.path.dirname(path)
    try:
        found = os.statvfs(path)
    except OSError as error:
        yield Finding(UNCHECKED, "disk", f"{path}: {error.strerror}", AS_ROOT, Place(path))
        return
    if found.f_flag & os.ST_RDONLY:
        reason = f"the file system of {path} is read-only: ADD fails"
        fix = "see the kernel's log for the reason, then mount it for writing"
        yield Finding(ERROR, "disk", reason, fix, code=5)
        return
    free = found.f_bavail * found.f_frsize
    megabytes = f"{free >> 20} MB are free under {path}"
    if free < _LEAST_FREE:
        yield Finding(ERROR, "disk", f"{megabytes}: ADD fails", "free disk space", code=5)
    elif free < _LITTLE_FREE:
        yield Finding(WARNING, "disk", f"only {megabytes}", "free disk space")
    elif found.f_files and found.f_favail < 1000:
        reason = f"only {found.f_favail} inodes are free under {path}"
        yield Finding(WARNING, "disk", reason, "delete unused small files")
    else:
        yield Finding(OK, "disk", megabytes)


def _clock(node: Node) -> Iterator[Finding]:
    sight = Look("clock")
    newest = _newest(node, sight)
    if newest > time.time() + 60:
        reason = f"the clock is {int(newest - time.time())} s behind the newest record"
        fix = "set the clock: with a wrong one, certificates and tokens are refused"
        yield Finding(ERROR, "clock", reason, fix)
    elif _unsynchronised():
        reason = "the kernel reports the clock as not synchronised"
        fix = "start chrony or systemd-timesyncd, on the host if this is a virtual machine"
        yield Finding(NOTE, "clock", reason, fix)
    else:
        well = "the kernel reports it as synchronised, and no record is of the future"
        yield from sight.concluded((), well)


def _newest(node: Node, sight: Look) -> float:
    """The latest modification time of Multus' files."""
    newest = 0.0
    for folder in map(node.places.at, (node.places.net_d, node.conf.cni_dir)):
        for name in sight.listed(folder):
            with suppress(OSError):  # just removed
                newest = max(newest, os.lstat(os.path.join(folder, name)).st_mtime)
    return newest


def _unsynchronised() -> bool:
    buffer = ctypes.create_string_buffer(512)  # struct timex, all zero: read only
    return int(ctypes.CDLL(None).adjtimex(buffer)) == _TIME_ERROR
