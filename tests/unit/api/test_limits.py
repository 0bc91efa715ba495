"""The limit on a worker's memory, in a separate process, because it cannot be removed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import os, resource, sys
from multus.api._limits import lifted, limit_data

def soft():
    return resource.getrlimit(resource.RLIMIT_DATA)[0]

def children():
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "ulimit -d >&2"], {}, file_actions=[
        (os.POSIX_SPAWN_DUP2, out, 2)])
    os.waitpid(pid, 0)
    return os.read(into, 100).decode().strip()

into, out = os.pipe()
before = soft()
with lifted():
    assert soft() == before
limit_data(64 << 20, int(sys.argv[2]) or None)
ours = soft()
assert 64 << 20 < ours < 256 << 20, ours
with lifted():
    assert children() == sys.argv[1]
    try:
        with lifted():
            raise KeyError
    except KeyError:
        pass
assert soft() == ours
assert children() == str(ours >> 10)
try:
    b"x" * (80 << 20)
except MemoryError:
    print("refused")
held = b"x" * (32 << 20)
print("served")
"""


@pytest.mark.parametrize("programs, limit", [(0, "unlimited"), (96 << 20, str(96 << 10))])
def test_a_worker_is_limited_and_what_it_starts_has_a_limit_of_its_own(
    programs: int, limit: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, limit, str(programs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("refused\nserved\n", 0), done.stderr


def test_a_process_without_a_limit_of_its_own_is_left_as_it_is() -> None:
    import resource

    from multus.api._limits import lifted

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with lifted():
        assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert os.getpid()
