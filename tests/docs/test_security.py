"""What the page on security names is there: tests, policies, limits."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from multus.engine import permit
from multus.ipam import _hostlocal as hostlocal
from multus.ipam import dns, store
from multus.ipam import settings as base
from multus.ipam._memory import Memory

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_test_that_it_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)((?:::\w+)*)`", PAGE)
    assert len(named) > 10
    for path, inside in named:
        tree: ast.AST = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        for name in inside.split("::")[1:]:
            (tree,) = (
                each for each in ast.iter_child_nodes(tree) if getattr(each, "name", "") == name
            )


def test_every_threat_has_a_test() -> None:
    _, _, table = PAGE.partition("| threat |")
    rows = [line for line in table.split("\n\n")[0].splitlines()[2:] if line.startswith("|")]
    assert len(rows) > 10
    assert all("tests/" in row for row in rows)


def test_its_limits_are_those_that_hold() -> None:
    words = " ".join(PAGE.split())
    for said in (
        f"at most {permit.LARGEST // 1024} KiB and {permit.MOST_PLUGINS} plugins",
        f"{hostlocal.MOST_SETS} range sets with {hostlocal.MOST_RANGES} ranges",
        f"{base.MOST_ROUTES} routes and {base.MOST_ADDRESSES} addresses",
        f"{Memory.MOST >> 20} MiB at most",
        f"of {dns.LARGEST >> 10} KiB at most",
    ):
        assert said in words, said
    assert store.PATIENCE == 5.0 and "five seconds at most" in words
