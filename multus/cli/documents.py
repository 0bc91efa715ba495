"""Reads JSON and YAML files and records the line and column of every key."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from multus.api.errors import DecodingFailure, IOFailure, MissingPlugin
from multus.api.jsontext import LARGEST, decode
from multus.api.where import Path, dotted, sentence
from multus.cli.embedded import Scalar
from multus.cli.findings import ERROR, WARNING, Finding, Place
from multus.cli.mending import Slip, mend

if TYPE_CHECKING:
    from types import ModuleType

    from yaml.nodes import Node

    from multus.api.errors import CNIError
    from multus.api.problem import Problem

_JSON_ENDINGS = (".conf", ".conflist", ".json")


@frozen
class Document:
    """One document of a file: its value, and the position of each key.

    ``comments`` are the places of comments that were skipped to parse it.  ``scalars`` are the
    strings of a YAML document, whose text is ``source``.
    """

    file: str
    value: Any
    marks: Mapping[Path, tuple[int, int]] = field(factory=dict, repr=False)
    comments: tuple[Place, ...] = ()
    scalars: Mapping[Path, Scalar] = field(factory=dict, repr=False)
    source: str = field(default="", repr=False)

    def place(self, path: Path = ()) -> Place:
        """The position of the key at *path*, or of its nearest parent that has one."""
        for length in range(len(path), -1, -1):
            mark = self.marks.get(path[:length])
            if mark is not None:
                return Place(self.file, *mark)
        return Place(self.file)

    def within(self, path: Path, value: Any) -> Document:
        """The part of this document at *path*, for an object inside a list."""
        depth = len(path)
        marks = {key[depth:]: mark for key, mark in self.marks.items() if key[:depth] == path}
        scalars = {key[depth:]: each for key, each in self.scalars.items() if key[:depth] == path}
        return evolve(self, value=value, marks=marks, scalars=scalars)

    def embedded(self, path: Path, text: str) -> Document:
        """The JSON in the string at *path*; positions are those in this file, as far as known.

        Raises ``DecodingFailure``.
        """
        value = decode(text.encode("utf-8", "surrogatepass"), dotted(path))
        node = _yaml().compose(text.translate(_FOR_YAML), Loader=_yaml().SafeLoader)
        scalar, key = self.scalars.get(path), self.place(path)
        marks = {
            each: (scalar and scalar.find(self.source, mark)) or (key.line, key.column)
            for each, mark in _Walk(self.file).over(node).marks.items()
        }
        return Document(self.file, value, marks)

    def finding(self, severity: str, path: Path, reason: str, fix: str, code: int = 0) -> Finding:
        """A finding about the key at *path*."""
        return Finding(severity, dotted(path) or "(all of it)", reason, fix, self.place(path), code)

    def about(self, problem: Problem, base: Path = (), *, code: int = 0) -> Finding:
        """A finding about a problem; its path is counted from *base*."""
        path = (*base, *problem.path)
        known = self.known(path)
        missing = sentence("", path[len(known) :], problem.reason)
        if problem.warning:
            return self.finding(WARNING, known, missing, problem.fix)
        return self.finding(ERROR, known, missing, problem.fix, code)

    def told(
        self, error: CNIError, base: Path = (), *, severity: str = ERROR, whole: bool = False
    ) -> Finding:
        """A finding about an error; its path is counted from *base*.

        With *whole*, the reason includes the object's name, unless the finding points at the exact
        key.
        """
        path = (*base, *error.path)
        known = self.known(path)
        reason = error.reason
        if whole and (known != path or not known):
            reason = error.said
        elif error.key:
            reason = sentence("", path[len(known) :], reason)
        finding = self.finding(severity, known, reason, error.fix, error.number)
        place = self._within_text(known, error)
        return finding if place is None else evolve(finding, place=place)

    def _within_text(self, path: Path, error: CNIError) -> Place | None:
        """Where the string at *path* stops being JSON, when that is what *error* says."""
        cause, scalar = error.__cause__, self.scalars.get(path)
        if scalar is None or not isinstance(cause, DecodingFailure) or cause.position is None:
            return None
        found = scalar.find(self.source, cause.position)
        return None if found is None else Place(self.file, *found)

    def known(self, path: Path) -> Path:
        """The longest prefix of *path* that exists in the document (a missing key does not)."""
        return next(
            (path[:length] for length in range(len(path), 0, -1) if path[:length] in self.marks), ()
        )


#: JSON's characters that YAML's reader refuses or takes for the end of a line, replaced one by one
#: so that positions stay the same.
_FOR_YAML = {
    ord("\t"): " ",
    **dict.fromkeys((*range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF), "\ufffd"),
}


@frozen
class Reading:
    """The documents that could be read from a file, and the syntax errors in it."""

    documents: tuple[Document, ...]
    findings: tuple[Finding, ...] = ()


def read(path: str) -> Reading:
    """Read the file at *path* (``-`` is stdin); raises ``IOFailure`` when it cannot be read."""
    data = _bytes(path)
    name = "(stdin)" if path == "-" else path
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        place = Place(name, line, error.start - data.rfind(b"\n", 0, error.start))
        return Reading((), (Finding(ERROR, "encoding", "is not UTF-8", "save it as UTF-8", place),))
    if path.endswith(_JSON_ENDINGS) or _looks_like_json(text):
        return _read_json(name, text)
    return _read_yaml(name, text)


def _bytes(path: str) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read(LARGEST + 1)
        with open(path, "rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise IOFailure(f"cannot read {path}: {error.strerror}", fix="correct the path") from error


def _looks_like_json(text: str) -> bool:
    lines = (line.strip() for line in text.lstrip("\ufeff").split("\n"))
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return first.startswith(("{", "["))


# --- JSON -----------------------------------------------------------------------------------------


def _read_json(name: str, text: str) -> Reading:
    mended, slips = mend(text)
    comments = tuple(_at(name, text, each) for each in slips if each.is_comment)
    findings = [
        Finding(ERROR, "JSON", each.reason, each.fix, _at(name, text, each), 6) for each in slips
    ]
    try:
        value = decode(mended.encode(), name)
    except DecodingFailure as error:
        findings.append(_not_json(name, text, error))
        return Reading((), tuple(findings))
    # YAML accepts all of JSON except tabs between tokens.
    node = _yaml().compose(mended.translate(_FOR_YAML), Loader=_yaml().SafeLoader)
    walk = _Walk(name).over(node)
    document = Document(name, value, walk.marks, comments)
    return Reading((document,), (*findings, *walk.findings))


def _at(name: str, text: str, slip: Slip) -> Place:
    before = text[: slip.offset]
    return Place(name, before.count("\n") + 1, slip.offset - before.rfind("\n"))


def _not_json(name: str, text: str, error: DecodingFailure) -> Finding:
    fix = error.fix or "correct it here"
    if error.position is None:
        reason = error.said if text.strip() else "the file is empty"
        return Finding(ERROR, "JSON", reason, fix, Place(name), error.number)
    reason = f"this is not JSON: {error.syntax}"
    return Finding(ERROR, "JSON", reason, fix, Place(name, *error.position), error.number)


# --- YAML -----------------------------------------------------------------------------------------


def _yaml() -> ModuleType:
    try:
        import yaml
    except ImportError as error:
        raise MissingPlugin("this command needs PyYAML", fix="pip install 'multus[cli]'") from error
    return yaml


def _read_yaml(name: str, text: str) -> Reading:
    yaml = _yaml()
    documents, findings = [], []
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            walk = _Walk(name).over(node)
            findings += walk.findings
            value = _construct(node)
            # Nothing between two separators is common; "null" is not.
            if value is not None or node.value:
                given = Document(name, value, walk.marks, scalars=walk.scalars, source=text)
                documents.append(given)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)
        problem = getattr(error, "problem", None) or str(error)
        context = getattr(error, "context", None)
        reason = f"this is not YAML: {f'{context}, ' if context else ''}{problem}"
        fix = _yaml_fix(text[mark.index : mark.index + 1] if mark else "")
        findings.append(Finding(ERROR, "YAML", reason, fix, place))
    return Reading(tuple(documents), tuple(findings))


def _construct(node: Node) -> Any:
    loader = _yaml().SafeLoader("")
    try:
        return loader.construct_document(_as_in_the_api(node, set()))
    finally:
        loader.dispose()


def _as_in_the_api(node: Any, seen: set[int]) -> Any:
    """The node with what the API has as text: every key, and dates."""
    yaml = _yaml()
    if id(node) in seen:
        return node
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                key.tag = "tag:yaml.org,2002:str"
            _as_in_the_api(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _as_in_the_api(value, seen)
    elif node.tag == "tag:yaml.org,2002:timestamp":
        node.tag = "tag:yaml.org,2002:str"
    return node


def _yaml_fix(stopped_at: str) -> str:
    """A fix, chosen by the character at which the parser stopped."""
    if stopped_at == "\t":
        return "indent with spaces: YAML does not allow tabs"
    if stopped_at == ":":
        return "quote the value, or correct the indentation"
    return "correct it here"


@frozen
class _Walk:
    """Records the position of each key, and finds duplicate keys."""

    file: str
    marks: dict[Path, tuple[int, int]] = field(factory=dict)
    findings: list[Finding] = field(factory=list)
    scalars: dict[Path, Scalar] = field(factory=dict)
    #: Each anchor is walked once, since nested aliases may expand without limit.
    seen: set[int] = field(factory=set)

    def over(self, node: Any, path: Path = ()) -> _Walk:
        yaml = _yaml()
        self.marks.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
        if id(node) in self.seen:
            return self
        self.seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, child in enumerate(node.value):
                self.over(child, (*path, index))
        elif isinstance(node, yaml.MappingNode):
            self._mapping(node, path)
        else:
            start, end = node.start_mark.index, node.end_mark.index
            self.scalars[path] = Scalar(node.value, node.style, start, end)
        return self

    def _mapping(self, node: Any, path: Path) -> None:
        for key, child in node.value:
            here = (*path, str(key.value))
            mark = (key.start_mark.line + 1, key.start_mark.column + 1)
            if here in self.marks:
                reason = "duplicate key: the second value is used"
                place = Place(self.file, *mark)
                finding = Finding(ERROR, dotted(here), reason, "delete one of them", place)
                self.findings.append(finding)
            self.marks[here] = mark
            self.over(child, here)
