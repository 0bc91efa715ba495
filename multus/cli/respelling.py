"""Gives the keys of a configuration file their documented spelling, and says which had another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api.errors import DecodingFailure
from multus.api.jsontext import decode
from multus.api.keys import NETWORK_SPELLING
from multus.api.spelling import Spelling, misspelled, spelled, spelled_path
from multus.api.where import dotted
from multus.cli.findings import WARNING
from multus.cli.node import multus_part
from multus.registry.spelling import spelling_with

if TYPE_CHECKING:
    from multus.api.where import Path
    from multus.cli.documents import Document
    from multus.cli.findings import Finding
    from multus.registry.loading import Installed


def well_spelled(document: Document, installed: Installed) -> tuple[Document, list[Finding]]:
    """*document*, a CNI configuration, as Multus reads it, with a warning for each other spelling.

    Positions stay those of the file.
    """
    value: dict[str, Any] = document.value
    spelling = _spelling_of(document.file, value, installed)
    findings = [_finding(document, path, name) for path, name in misspelled(value, spelling)]
    if not findings:
        return document, []
    marks = {spelled_path(path, spelling): mark for path, mark in document.marks.items()}
    return evolve(document, value=dict(spelled(value, spelling)), marks=marks), findings


def about_network(document: Document, path: Path) -> list[Finding]:
    """Warnings about the keys of the configuration that an object has at *path* as text."""
    text: Any = document.value
    for part in path:
        text = text[part]
    try:
        config = decode(str(text).encode("utf-8", "surrogatepass"), "it")
    except DecodingFailure:
        return []  # the check of the object reports it
    inner = config[0] if isinstance(config, list) and config else config
    found = misspelled(inner, NETWORK_SPELLING) if isinstance(inner, dict) else ()
    return [
        document.finding(WARNING, path, f"{dotted(key)!r} is read as {name!r}", f"write {name!r}")
        for key, name in found
    ]


def _spelling_of(file: str, value: dict[str, Any], installed: Installed) -> Spelling:
    found = multus_part(file, value)
    if found is None:
        return NETWORK_SPELLING
    own = spelling_with(installed.every)
    if not found.key:
        return own
    return Spelling(NETWORK_SPELLING.names, {**NETWORK_SPELLING.within, "plugins": own})


def _finding(document: Document, path: Path, name: str) -> Finding:
    return document.finding(WARNING, path, f"is read as {name!r}", f"write {name!r}")
