"""Checks configurations and objects before they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.reader import describe
from multus.cli.commands.validate.addresschecks import check_addresses
from multus.cli.commands.validate.confchecks import check_configuration, is_configuration
from multus.cli.commands.validate.objectchecks import GivenObjects, check_object, is_checked
from multus.cli.commands.validate.offeredchecks import check_offered, who_wins
from multus.cli.commands.validate.upstreamchecks import (
    Difference,
    check_daemon_config,
    daemon_configs,
    differing,
    is_daemon_config,
)
from multus.cli.documents import Document, Reading, read
from multus.cli.findings import ERROR, NOTE, WARNING, Finding, Place, Tally, of_error
from multus.cli.gathering import gathered
from multus.cli.node import multus_part
from multus.cli.objects import Named, objects_in
from multus.cli.respelling import well_spelled

if TYPE_CHECKING:
    from multus.registry.loading import Installed


@frozen
class Report:
    """The checked files, and the findings."""

    files: tuple[str, ...]
    checked: int
    findings: tuple[Finding, ...] = field(default=())
    differences: tuple[Difference, ...] = ()

    def with_findings(self, more: Sequence[Finding]) -> Report:
        """The report with *more* findings."""
        return evolve(self, findings=(*self.findings, *more))

    @property
    def tally(self) -> Tally:
        return Tally(self.findings)


def validate(paths: list[str], installed: Installed, *, here: bool) -> Report:
    """Check the content of all files, each against the objects of all files.

    *here* says that this machine is the node on which they are used.
    """
    found = gathered(paths)
    files = found.files
    documents, findings = _read(files)
    findings += found.skipped
    configurations, about_keys = _configurations(documents, installed)
    of_daemons = [config for each in documents for config in daemon_configs(each)]
    objects = [named for each in documents for named in objects_in(each)]
    findings += about_keys
    for each in configurations:
        findings += check_configuration(each, installed)
        findings += _not_ready(each, installed)
    for each in of_daemons:
        findings += check_daemon_config(each)
    cluster = GivenObjects.of(objects, installed, _conf_in(configurations), here=here)
    for each in configurations:
        findings += _networks(each, installed, cluster)
    for named in objects:
        findings += check_object(named, cluster)
    findings += cluster.of_node.unchecked()
    findings += check_addresses([*configurations, *(named.document for named in objects)])
    findings += [_of_no_kind(each) for each in documents if _has_no_kind(each)]
    checked = len(configurations) + len(of_daemons) + sum(map(is_checked, objects))
    differences = [one for each in (*configurations, *of_daemons) for one in differing(each)]
    if not checked and not any(each.severity == ERROR for each in findings):
        reason = f"nothing to check: no configuration and no object is in {', '.join(paths)}"
        fix = "name files of configurations, networks or pods"
        findings.append(Finding(ERROR, "files", reason, fix))
    return Report(files, checked, tuple(_sorted(findings)), tuple(differences))


def _networks(document: Document, installed: Installed, cluster: GivenObjects) -> Iterator[Finding]:
    """What the networks in a configuration need, and who has the default route."""
    found = multus_part(document.file, document.value)
    if found is None:
        yield from cluster.of_node.check_configured(document, (), document.value)
        return
    yield from check_offered(document, found, cluster.objects, cluster.of_node)
    try:
        conf = Conf.from_wire(found.config)
    except CNIError:
        return  # the configuration's own check reports it
    listed = None if conf.raw.get("clusterNetwork") else conf.raw.get("delegates")
    for index, each in enumerate(listed if isinstance(listed, Sequence) else ()):
        path = (*found.key, "delegates", index)
        yield from cluster.of_node.with_conf(conf).check_configured(document, path, each)
    yield from who_wins(document, found, installed)


def _read(files: Sequence[str]) -> tuple[list[Document], list[Finding]]:
    """The documents of all files, and the errors in their text."""
    documents: list[Document] = []
    findings: list[Finding] = []
    for path in files:
        try:
            reading = read(path)
        except CNIError as error:
            findings.append(of_error(error, "file", place=Place(path)))
            continue
        findings += _about_text(reading)
        documents += reading.documents
    return documents, findings


def _configurations(
    documents: Sequence[Document], installed: Installed
) -> tuple[list[Document], list[Finding]]:
    """The CNI configurations, with the documented spelling of each key."""
    spelled = [well_spelled(each, installed) for each in documents if is_configuration(each.value)]
    about_keys = [finding for _, findings in spelled for finding in findings]
    return [document for document, _ in spelled], about_keys


def _has_no_kind(document: Document) -> bool:
    value = document.value
    known = is_configuration(value) or is_daemon_config(value)
    return not known and not list(objects_in(document))


def _of_no_kind(document: Document) -> Finding:
    value = document.value
    if isinstance(value, dict) and isinstance(value.get("items"), list):
        return document.finding(NOTE, (), "the list is empty", "")
    if not isinstance(value, dict):
        reason = f"must be an object, not {describe(value)}"
        return document.finding(ERROR, (), reason, "write one document for each object")
    return document.finding(
        WARNING,
        (),
        "this is neither a CNI configuration nor a Kubernetes object: it is not checked",
        "add 'type', 'plugins' or 'kind', or do not pass the file",
    )


def _about_text(reading: Reading) -> list[Finding]:
    """Syntax errors of a file; Multus accepts comments in files that it loads itself."""
    accepted: set[Place] = set()
    for document in reading.documents:
        value = document.value
        if isinstance(value, dict) and multus_part(document.file, value) is None:
            accepted |= set(document.comments)
    return [
        evolve(
            each,
            severity=NOTE,
            reason=f"{each.reason}; allowed in Multus' 'confDir', but a runtime refuses the file",
            code=0,
        )
        if each.place in accepted
        else each
        for each in reading.findings
    ]


def _not_ready(document: Document, installed: Installed) -> Iterator[Finding]:
    """Conditions that an ADD with this configuration would wait for on this machine."""
    found = multus_part(document.file, document.value)
    if found is None:
        return
    try:
        conf = Conf.from_wire(found.config)
        reasons = installed.taking_part(conf).hooks.health(conf)
    except CNIError:
        return  # the configuration's own check reports it
    for error in reasons:
        yield document.told(error, found.key, severity=NOTE, whole=True)


def _conf_in(configurations: Sequence[Document]) -> Mapping[str, Any] | None:
    """The first Multus configuration among the files: pods are checked with it."""
    for each in configurations:
        found = multus_part(each.file, each.value)
        if found is not None:
            return found.config
    return None


def _sorted(findings: list[Finding]) -> list[Finding]:
    def key(each: Finding) -> tuple[str, int, int]:
        place = each.place or Place("")
        return (place.file, place.line, place.column)

    return sorted(dict.fromkeys(findings), key=key)


__all__ = ["Named", "Report", "validate"]
