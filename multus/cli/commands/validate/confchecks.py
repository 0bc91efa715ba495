"""Checks CNI configurations: those of Multus, and those of delegates."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api import keys
from multus.api.conf import Conf
from multus.api.delegates import delegate_from
from multus.api.errors import CNIError, IncompatibleVersion, InvalidConfig
from multus.api.network import Provenance
from multus.api.versions import NEWEST
from multus.api.where import Path, dotted
from multus.cli.commands.validate.upstreamchecks import is_daemon_config, part_of
from multus.cli.documents import Document
from multus.cli.editing import with_value, without
from multus.cli.findings import ERROR, WARNING, Finding
from multus.cli.respelling import well_spelled
from multus.cli.upstream.known import KEYS
from multus.engine import parse
from multus.engine.permit import require_permitted
from multus.registry.known import SELECTING

if TYPE_CHECKING:
    from multus.registry.loading import Installed

#: Replaces an invalid value of a required key, so that the other keys can be checked.
_STAND_IN = "validated"
#: The most problems that are reported for one configuration.
_MOST = 50
#: Keys that only a CNI configuration has, in lower case.
_TELLING = {"type", "plugins", "delegates", "cniversion"}


def is_configuration(value: object) -> bool:
    """Whether *value* looks like a CNI configuration."""
    return (
        isinstance(value, dict)
        and "kind" not in value
        and bool({str(key).lower() for key in value} & _TELLING)
        and not is_daemon_config(value)
    )


def check_configuration(document: Document, installed: Installed) -> list[Finding]:
    """All problems of a configuration file."""
    document, findings = well_spelled(document, installed)
    value: dict[str, Any] = document.value
    findings += _shape(document)
    found = part_of(document)
    if found is None:
        conf = Conf("delegate", NEWEST, {})
        if "type" in value or "plugins" in value:
            findings += _delegate(document, (), conf, named=True)
        else:
            findings.append(
                document.finding(ERROR, (), "has no 'type'", 'add "type": "multus"', code=7)
            )
        return findings
    findings += _multus(document, dict(found.config), found.key, installed)
    return findings


def _shape(document: Document) -> Iterator[Finding]:
    """Errors that libcni reports for any plugin."""
    value, file = document.value, document.file
    if "plugins" in value and file.endswith(".conf"):
        reason = "this is a list ('plugins'), but runtimes read a .conf file as a single plugin"
        yield document.finding(ERROR, ("plugins",), reason, "name the file .conflist", code=7)
    if "plugins" not in value and file.endswith(".conflist"):
        reason = "a .conflist file needs 'plugins', a list of configurations"
        yield document.finding(ERROR, (), reason, "name the file .conf, or add 'plugins'", code=7)


# --- Multus' own ----------------------------------------------------------------------------------


def _multus(
    document: Document, raw: dict[str, Any], base: Path, installed: Installed
) -> list[Finding]:
    findings, well = _until_well(document, raw, base, Conf.from_wire)
    if well is None:
        return findings
    conf = Conf.from_wire(well)
    findings += _by_the_tables(document, conf, base, installed)
    findings += _delegates(document, conf, base)
    findings += _whole(document, conf, base, installed.taking_part(conf))
    if not any(each.code == 7 and each.subject.startswith("delegates") for each in findings):
        findings += _nothing_to_do(document, conf, base, installed)
    findings += _unread(document, conf, base, installed)
    return findings


def _by_the_tables(
    document: Document, conf: Conf, base: Path, installed: Installed
) -> Iterator[Finding]:
    """Problems that the key tables and the plugins report; each delegate is checked separately."""
    try:
        for problem in parse.problems(conf, installed):
            if not _is_within_delegate(problem.path):
                yield document.about(problem, base, code=InvalidConfig.code)
    except CNIError as error:
        if not _is_within_delegate(error.path):
            yield document.told(error, base)


def _is_within_delegate(path: Path) -> bool:
    return len(path) > 1 and path[0] == "delegates"


def _until_well(
    document: Document,
    raw: dict[str, Any],
    base: Path,
    read: Callable[[dict[str, Any]], object],
) -> tuple[list[Finding], dict[str, Any] | None]:
    """Read *raw*, and read it again without each invalid key.

    Returns the errors and the valid rest; None for the rest when an error names no key.
    """
    findings: list[Finding] = []
    for _ in range(_MOST):
        try:
            read(raw)
        except CNIError as error:
            # Name and versions come from the list that contains the configuration.
            outer = error.path[:1] in (("name",), ("cniVersion",), ("cniVersions",))
            findings.append(document.told(error, () if outer else base))
            better = _without_wrong(raw, error)
            if better is None or better == raw:
                return findings, None
            raw = better
        else:
            return findings, raw
    return findings, None


def _without_wrong(raw: dict[str, Any], error: CNIError) -> dict[str, Any] | None:
    """*raw* without the key of *error*, or with a placeholder for it; None when it has no key."""
    path = error.path
    if isinstance(error, IncompatibleVersion):
        inner = {**without(raw, (*path[:-1], "cniVersions"))}
        return dict(with_value(inner, (*path[:-1], "cniVersion"), NEWEST))
    if not path or path[-1] == "plugins":
        return None
    if path[-1] in ("name", "type"):
        return dict(with_value(raw, path, _STAND_IN))
    return dict(without(raw, path))


def _delegates(document: Document, conf: Conf, base: Path) -> list[Finding]:
    listed = conf.raw.get("delegates")
    if not isinstance(listed, list) or conf.raw.get("clusterNetwork"):
        return []  # beside clusterNetwork they are ignored
    findings = []
    for index, each in enumerate(listed):
        path = (*base, "delegates", index)
        if isinstance(each, dict):
            findings += _delegate(document.within(path, each), (), conf, shown=path)
        else:
            reason = "must be an object"
            findings.append(document.finding(ERROR, path, reason, "enclose it in { }", code=7))
    primaries = [i for i, each in enumerate(listed) if isinstance(each, dict) and _marked(each)]
    for index in primaries[1:]:
        path = (*base, "delegates", index, "masterplugin")
        reason = f"only one delegate can have 'masterplugin', and delegates[{primaries[0]}] has it"
        findings.append(document.finding(ERROR, path, reason, "remove one of them", code=7))
    return findings


def _marked(config: dict[str, Any]) -> bool:
    plugins = config.get("plugins")
    nested = plugins if isinstance(plugins, list) else []
    return any(
        isinstance(each, dict) and each.get("masterplugin") in (True, "true")
        for each in (config, *nested)
    )


def _delegate(
    document: Document, base: Path, conf: Conf, *, named: bool = False, shown: Path = ()
) -> list[Finding]:
    """The problems of a delegate's configuration; *shown* is its path in the file."""

    def read(raw: dict[str, Any]) -> object:
        # Files and the delegates in Multus' own configuration have provenance "node".
        name, node = "" if named else conf.name, Provenance.NODE
        delegate = delegate_from(raw, conf, "this network", name=name, provenance=node)
        require_permitted(delegate, "this network")
        return delegate

    findings, _ = _until_well(document, dict(document.value), base, read)
    if not shown:
        return findings
    prefix = dotted(shown)
    return [
        evolve(
            each,
            subject=prefix if each.subject == "(all of it)" else _joined(prefix, each.subject),
        )
        for each in findings
    ]


def _joined(prefix: str, subject: str) -> str:
    return f"{prefix}{subject}" if subject.startswith("[") else f"{prefix}.{subject}"


def _whole(document: Document, conf: Conf, base: Path, installed: Installed) -> Iterator[Finding]:
    """Rules that involve more than one key."""
    refusal = installed.refusal(conf.raw)
    if refusal is not None:
        key = next((key for key in refusal.needed_by if key in conf.raw), None)
        place = base if key is None else (*base, key)
        reason = f"needs a plugin that cannot be used: {refusal}"
        yield document.finding(ERROR, place, reason, refusal.fix, code=7)
    for name in installed.unmatched(conf.blocked_plugins):
        known = sorted({each for entry in installed.every for each in entry.names})
        near = difflib.get_close_matches(name, known, n=1)
        fix = f"did you mean {near[0]!r}?" if near else "remove it; 'multus plugins' lists them"
        reason = f"no plugin {name!r} is installed"
        yield document.finding(WARNING, (*base, "blockedPlugins"), reason, fix)
    try:
        parse.refuse_lone_default(conf)
    except CNIError as error:
        yield document.told(error, base)


def _nothing_to_do(
    document: Document, conf: Conf, base: Path, installed: Installed
) -> Iterator[Finding]:
    owned = {key.name for key in installed.hooks.configuration_keys() if key.selects}
    if not any(conf.raw.get(key) for key in {*SELECTING, *owned}):
        reason = "delegates or kubeconfig option is must, refer README.md: no network is named"
        fix = "add 'delegates', 'clusterNetwork' or 'kubeconfig'"
        yield document.finding(ERROR, base, reason, fix, code=7)


def _unread(document: Document, conf: Conf, base: Path, installed: Installed) -> Iterator[Finding]:
    told = {key.top for key in (*keys.CORE, *installed.hooks.configuration_keys())}
    owned = {key for entry in installed.loaded for key in entry.reads}
    known = told | owned | KEYS.keys() | {"plugins"}
    for key in sorted(conf.raw.keys() - known):
        near = difflib.get_close_matches(key, sorted(known), n=1)
        fix = f"did you mean {near[0]!r}?" if near else "remove it, or install its plugin"
        reason = "no installed plugin reads this key"
        yield document.finding(WARNING, (*base, key), reason, fix)
