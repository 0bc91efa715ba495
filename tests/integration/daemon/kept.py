"""The bytes of the protocol between shims and daemon, as each released version has them.

They are written down, not computed: a change of the layout does not change them.  A new version
adds an entry, and the one before it stays.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

#: The configuration, and what the call's environment has, in every request below.
STDIN = b'{"cniVersion":"1.0.0"}'
ENVIRON = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0"}


class Kept(NamedTuple):
    """One version: requests of a shim, and answers of a daemon.

    ``deletion`` is a DEL that a shim kept on disk; ``answer`` says status 0 and the text ``{}``,
    ``failure`` status 1.
    """

    request: bytes
    control: bytes
    deletion: bytes
    answer: bytes
    failure: bytes


VERSIONS: Mapping[int, Kept] = {
    1: Kept(
        request=(
            b"MULT\x01\x01\x00\x00\x00\x00\x00\x3c\x00\x00\x00\x16\x00\x03\x5b\x60"
            b"CNI_COMMAND=ADD\x00CNI_CONTAINERID=c1\x00CNI_IFNAME=eth0\x00DO=text:\x00"
            b'{"cniVersion":"1.0.0"}'
        ),
        control=b"MULT\x01\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x13\x88health",
        deletion=(
            b"MULT\x01\x01\x00\x00\x00\x00\x00\x49\x00\x00\x00\x16\x00\x03\x5b\x60"
            b"CNI_COMMAND=DEL\x00CNI_CONTAINERID=c1\x00CNI_IFNAME=eth0\x00"
            b"CNI_PATH=/opt/cni/bin\x00"
            b'{"cniVersion":"1.0.0"}'
        ),
        answer=b"MULT\x01\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00{}",
        failure=(
            b'MULT\x01\x80\x00\x01\x00\x00\x00\x00\x00\x00\x00\x0b\x00\x00\x00\x00{"code": 7}'
        ),
    )
}


class Asked(NamedTuple):
    """A request as a daemon of version 1 reads it."""

    version: int
    kind: int
    environ: Mapping[str, str]
    payload: bytes
    milliseconds: int


def read(data: bytes) -> Asked:
    """Decode a request without the daemon's own code."""
    magic, version, kind, zero, environment, size, milliseconds = struct.unpack_from(
        ">4sBBHIII", data
    )
    assert (magic, zero) == (b"MULT", 0)
    assert len(data) == 20 + environment + size
    pairs = data[20 : 20 + environment].decode().split("\0")
    assert pairs.pop() == ""
    environ = dict(pair.split("=", 1) for pair in pairs)
    return Asked(version, kind, environ, data[20 + environment :], milliseconds)
