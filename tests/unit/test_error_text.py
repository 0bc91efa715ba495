"""The words of an error are for people: no code takes them apart.

Whoever wants the object, the key or the fix reads ``where``, ``path`` or ``fix``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for folder in ("multus", "plugins", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if "tests" not in path.parts and "testing" not in path.parts
)

#: What holds words of an error.
WORDS = {"details", "fix", "msg", "reason", "said", "strerror"}

#: What may be given words as they are: it shows, keeps or sends them, or makes an error of them.
SHOWING = {
    "about",
    "Closed",
    "Event",
    "Finding",
    "finding",
    "Gone",
    "InvalidConfig",
    "Problem",
    "TryAgainLater",
    "__new__",
    "_not_restarted",
    "cls",
    "ended",
    "error",
    "failed_wire",
    "sentence",
    "set_status",
    "str",
    "told",
}

#: Where words are put together.
RENDERING = {"multus/api/errors.py", "multus/cli/documents.py"}


def taken_apart(source: str, *, rendering: bool = False) -> Iterator[str]:
    """The expressions of *source* that look into the words of an error."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    caught = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name
    }
    for node in ast.walk(tree):
        if not _is_words(node, caught):
            continue
        parent = parents[node]
        if isinstance(parent, ast.Assign | ast.AnnAssign | ast.NamedExpr) and rendering:
            continue
        if _looks_into(parent, node):
            yield f"line {getattr(node, 'lineno', 0)}: {ast.unparse(parent)}"


def _is_words(node: ast.AST, caught: set[str]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in WORDS and isinstance(node.ctx, ast.Load)
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) in ("str", "repr") and node.args):
        return False
    return isinstance(node.args[0], ast.Name) and node.args[0].id in caught


def _looks_into(parent: ast.AST, node: ast.AST) -> bool:
    if isinstance(parent, ast.Call):
        if node is parent.func:
            return False  # os.strerror(number)
        return ast.unparse(parent.func).rpartition(".")[2] not in SHOWING
    if isinstance(parent, ast.Compare):
        # Two errors may have the same words; a word in them means nothing.
        others = [parent.left, *parent.comparators]
        alike = all(isinstance(each, ast.Eq | ast.NotEq) for each in parent.ops)
        return not alike or any(isinstance(each, ast.Constant) for each in others)
    if isinstance(parent, ast.Subscript):
        return not isinstance(parent.slice, ast.Slice)
    return isinstance(
        parent, ast.Attribute | ast.For | ast.comprehension | ast.Assign | ast.NamedExpr
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_takes_the_words_of_an_error_apart(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    # The command that waits for a network says again what has changed, and only then.
    waiting = name == "multus/cli/commands/install/install.py"
    found = list(taken_apart(path.read_text(), rendering=waiting or name in RENDERING))
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "reason, fix = error.msg.rsplit(': ', 1)",
        "if 'type' in error.msg: pass",
        "if problem.reason == 'is empty': pass",
        "key = PATTERN.search(error.msg)",
        "text = error.msg",
        "first = error.reason[0]",
        "for word in error.fix: pass",
        "path = key_of(error.said)",
        "try: f()\nexcept OSError as e:\n    if 'No such' in str(e): pass",
        "try: f()\nexcept OSError as e: text = str(e).partition(':')",
    ],
)
def test_what_takes_words_apart_is_found(code: str) -> None:
    assert list(taken_apart(code))


@pytest.mark.parametrize(
    "code",
    [
        "raise InvalidConfig(error.reason, fix=error.fix)",
        "text = f'{error.msg}: go on'",
        "print({'msg': error.msg})",
        "line = error.msg[:80]",
        "if str(e) != before: pass",
    ],
)
def test_showing_them_is_not(code: str) -> None:
    assert list(taken_apart(code)) == []
