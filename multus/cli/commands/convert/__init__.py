"""Convert Network objects to or from NetworkAttachmentDefinitions.

Converts the annotations of pods and workloads too, and the Go Multus'
daemon-config.json, or a ConfigMap with it, to this DaemonSet's ConfigMap.
Objects without networks, and objects already in the target form, are copied
unchanged. What the target form cannot express is written as a comment before
the object, and to stderr.

Examples:
  multus convert -f networks.yaml -f pod.yaml > new.yaml
  multus convert -f daemon-config.json
  kubectl get networks -A -o yaml | multus convert -f - | kubectl apply -f -
  multus convert --to network -f nads.yaml        convert back
  multus convert --always-use-default -f pod.yaml

A pod with Network objects gets only these, the first one as its primary. So
the first one becomes the pod's default network, and the others keep the names
net0, net1. With --always-use-default (set it if the nodes' configuration does)
all of them follow the nodes' default networks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from multus.api.errors import InvalidConfig
from multus.cli import screen, telling
from multus.cli.commands.convert import daemonconfig
from multus.cli.commands.convert.converting import NAD, NETWORK, Conversion, Converted, Literal
from multus.cli.documents import Document, read
from multus.cli.objects import Named, objects_in
from multus.log._printable import printable
from multus.registry.index import discover
from multus.registry.loading import load

SEPARATOR = "---\n"


STATUSES = {
    0: "everything was converted",
    1: "something cannot be expressed or read; standard error says what",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        required=True,
        metavar="FILE",
        help="may be repeated; - is stdin",
    )
    parser.add_argument("--to", choices=(NAD, NETWORK), default=NAD, help="(%(default)s)")
    parser.add_argument(
        "--always-use-default", action="store_true", help="the nodes' configuration sets it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write YAML to stdout; status 1 when something could not be converted."""
    conversion = Conversion(arguments.to, arguments.always_use_default)
    unsaid: list[str] = []
    first = True
    for path in arguments.file:
        telling.doing(f"converting {path}")
        for document in _documents(path):
            for value, told, notes in _converted(document, conversion):
                comments = "".join(f"# {printable(each)}\n" for each in (*told, *notes))
                screen.document(f"{'' if first else SEPARATOR}{comments}{_text(value)}")
                first = False
                unsaid += told
    for each in unsaid:
        screen.complain(f"multus convert: {each}")
    return 1 if unsaid else 0


def _documents(path: str) -> Iterator[Document]:
    reading = read(path)
    if reading.findings:
        first = reading.findings[0]
        raise InvalidConfig(
            f"{first.place}: {first.subject}: {first.reason}",
            fix=first.fix,
        )
    yield from reading.documents


#: A converted object, what it cannot express, and what it says in another way.
_Told = tuple[Any, Sequence[str], Sequence[str]]


def _converted(document: Document, conversion: Conversion) -> Iterator[_Told]:
    """The converted objects of a document; a list is split into its items."""
    value = document.value
    settings = daemonconfig.settings_in(value)
    if settings is not None:
        converted = daemonconfig.convert(value, settings, load(discover()))
        yield converted.wire, converted.unsaid, converted.notes
        return
    if isinstance(value, dict) and value.get("kind") == "List":
        for named in objects_in(document):
            if named.kind != "Pod" or _stands_alone(named, value):
                yield from _one(named.document, conversion)
        return
    yield from _one(document, conversion)


def _stands_alone(named: Named, whole: dict[str, Any]) -> bool:
    """Whether the pod is an item of the list, not the template of a workload."""
    return any(item is named.document.value for item in whole.get("items", ()))


def _one(document: Document, conversion: Conversion) -> Iterator[_Told]:
    value = document.value
    told: list[str] = []
    for named in objects_in(document):
        converted = conversion.of(named)
        told += converted.unsaid
        if converted.changed:
            value = _placed(document, value, named, converted)
    yield value, told, ()


def _placed(document: Document, value: Any, named: Named, converted: Converted) -> Any:
    """The whole object after conversion: the pod itself, or the workload around it."""
    from multus.cli.editing import with_value
    from multus.cli.objects import TEMPLATES

    path = TEMPLATES.get(str(value.get("kind")), ())
    if not path:
        return converted.wire
    template = value
    for part in path:
        template = template[part]
    metadata = dict(template.get("metadata") or {})
    metadata["annotations"] = converted.wire["metadata"]["annotations"]
    return with_value(value, path, {**template, "metadata": metadata})


def _text(value: Any) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Keeps the order of keys, and writes multi-line text as a block."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def literal(dumper: yaml.SafeDumper, text: Literal) -> yaml.nodes.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")

    Dumper.add_representer(Literal, literal)
    # ``decode`` returns subclasses of these three.
    Dumper.add_multi_representer(dict, Dumper.represent_dict)
    Dumper.add_multi_representer(list, Dumper.represent_list)
    Dumper.add_multi_representer(float, Dumper.represent_float)

    def dump(*, unicode: bool) -> str:
        text: str = yaml.dump(
            value, Dumper=Dumper, sort_keys=False, allow_unicode=unicode, width=10_000
        )
        return text

    text = dump(unicode=True)
    # The same values, with unprintable characters as escapes.
    return text if text.replace("\n", "").isprintable() else dump(unicode=False)
