from __future__ import annotations

from pathlib import Path

import pytest

from multus.daemon.memory import affordable, limit_of, of_a_program

MIB = 1 << 20


@pytest.mark.parametrize(
    ("workers", "limit", "fit"),
    [
        (32, None, 32),
        (32, 4096 * MIB, 32),
        (32, 512 * MIB, 14),
        (32, 256 * MIB, 6),
        (32, 64 * MIB, 4),
        (2, 64 * MIB, 2),
    ],
)
def test_a_memory_limit_bounds_the_workers(workers: int, limit: int | None, fit: int) -> None:
    assert affordable(workers, limit) == fit


@pytest.mark.parametrize(
    ("line", "files", "limit"),
    [
        ("0::/pod/web\n", {"pod/memory.max": "268435456\n", "pod/web/memory.max": "max\n"}, 256),
        ("0::/pod\n", {"pod/memory.max": "max\n"}, None),
        ("0::/\n", {}, None),
        ("3:cpu,memory:/pod\n", {"memory/pod/memory.limit_in_bytes": "134217728\n"}, 128),
        ("3:memory:/pod\n", {"memory/pod/memory.limit_in_bytes": "9223372036854771712\n"}, None),
    ],
)
def test_the_smallest_limit_of_the_control_group_and_its_parents_counts(
    tmp_path: Path, line: str, files: dict[str, str], limit: int | None
) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text(line)
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = limit_of(str(groups), str(tmp_path / "mount"))
    assert found == (limit * MIB if limit else None)


def test_a_program_may_take_half_of_the_limit_and_enough_to_start() -> None:
    assert of_a_program(None) is None
    assert of_a_program(512 << 20) == 256 << 20
    assert of_a_program(64 << 20) == 128 << 20
