"""Turn Network objects and their annotation into NetworkAttachmentDefinitions and theirs, or back.

Objects without networks, and what is already in the wanted form, are written as they are. What
cannot be said in the other form stands as a comment before the object, and on stderr.

Examples:
  multus convert -f networks.yaml -f pod.yaml > new.yaml
  kubectl get networks -A -o yaml | multus convert -f - | kubectl apply -f -
  multus convert --to network -f nads.yaml        the way back
  multus convert --always-use-default -f pod.yaml

Pods that chose Network objects got these alone, the first one as their primary. So the first one
becomes the pod's default network, and the others keep the names net0, net1. With
--always-use-default (which is a key of the nodes' configuration) all of them come after the nodes'
defaults. The status is 0 when all could be said, else 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from multus.api.errors import InvalidConfig
from multus.cli import screen
from multus.cli.commands.convert.converting import NAD, NETWORK, Conversion, Converted, Literal
from multus.cli.documents import Document, read
from multus.cli.objects import Named, objects_in
from multus.log._printable import printable

SEPARATOR = "---\n"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--file", action="append", required=True, metavar="FILE", help="repeat it; - is stdin"
    )
    parser.add_argument("--to", choices=(NAD, NETWORK), default=NAD, help="(%(default)s)")
    parser.add_argument(
        "--always-use-default", action="store_true", help="as the nodes' configuration has it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write YAML to stdout; status 1 when something could not be said."""
    conversion = Conversion(arguments.to, arguments.always_use_default)
    unsaid: list[str] = []
    first = True
    for path in arguments.file:
        for document in _documents(path):
            for value, told in _converted(document, conversion):
                comments = "".join(f"# {printable(each)}\n" for each in told)
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


def _converted(document: Document, conversion: Conversion) -> Iterator[tuple[Any, list[str]]]:
    """A document's objects in their new form; a list's one by one."""
    value = document.value
    if isinstance(value, dict) and value.get("kind") == "List":
        for named in objects_in(document):
            if named.kind != "Pod" or _stands_alone(named, value):
                yield from _one(named.document, conversion)
        return
    yield from _one(document, conversion)


def _stands_alone(named: Named, whole: dict[str, Any]) -> bool:
    """Whether a pod is an object of the list, and no workload's template."""
    return any(item is named.document.value for item in whole.get("items", ()))


def _one(document: Document, conversion: Conversion) -> Iterator[tuple[Any, list[str]]]:
    value = document.value
    told: list[str] = []
    for named in objects_in(document):
        converted = conversion.of(named)
        told += converted.unsaid
        if converted.changed:
            value = _placed(document, value, named, converted)
    yield value, told


def _placed(document: Document, value: Any, named: Named, converted: Converted) -> Any:
    """The whole object with a converted part: itself, or the template inside a workload."""
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
        """Keeps the order of keys, and text of several lines as it stands."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def literal(dumper: yaml.SafeDumper, text: Literal) -> yaml.nodes.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")

    Dumper.add_representer(Literal, literal)
    # What ``decode`` returns: kinds of these three.
    Dumper.add_multi_representer(dict, Dumper.represent_dict)
    Dumper.add_multi_representer(list, Dumper.represent_list)
    Dumper.add_multi_representer(float, Dumper.represent_float)

    def dump(*, unicode: bool) -> str:
        text: str = yaml.dump(
            value, Dumper=Dumper, sort_keys=False, allow_unicode=unicode, width=10_000
        )
        return text

    text = dump(unicode=True)
    # The same values, with what cannot be seen as escapes.
    return text if text.replace("\n", "").isprintable() else dump(unicode=False)
