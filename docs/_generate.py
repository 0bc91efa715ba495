"""Writes the pages whose text is in the code: hooks.md from the hook specifications,
configuration.md from the tables of keys, commands.md from the command line's parsers, reference.md
from the public modules, the comparison in migration.md from its rows, _static/bench* from the
figures in bench.json; and the keys of the daemon and of Multus in the schema of the chart's values.

    python docs/_generate.py          write them
    python docs/_generate.py --check  say whether they are as they should be

All plugins of the project have to be installed.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from multus.api import PUBLIC, hookspecs
from multus.api.keys import MULTUS, NETWORK, OF_NETWORKS, OWN, Key
from multus.cli import kubectl, parser
from multus.cli.commands.install.older import OVERRIDE_NETWORK_NAME
from multus.cli.upstream import comparison
from multus.daemon import keys as daemon_keys
from multus.registry.index import discover
from multus.registry.loading import Installed, load

HERE = Path(__file__).parent
PARTS = ("Kind", "Called", "Returns", "Raises")

CONFIGURATION = """\
# Configuration

Multus is configured as every CNI plugin is: by the network configuration that the runtime hands it,
a file in `/etc/cni/net.d`. Every key is here, with the plugin that reads it. `multus validate -f
FILE` says what is wrong in a file, with line and fix, and names keys that no plugin reads.

```json
{
  "cniVersion": "1.0.0",
  "name": "node-network",
  "type": "multus",
  "delegates": [
    {"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}},
    {"type": "macvlan", "master": "eth1", "ipam": {"type": "static"}}
  ]
}
```

A boolean may also be written as the string `"true"` or `"false"`. A path that need not be absolute
is taken from the working folder of the process that reads it. A key that is `null` is as if it were
not there. A DEL and a GC go on without a key that is wrong, where they can: a configuration that
went bad must not keep a container from being removed.

The letter case of a key does not matter, as on the Go Multus: `kubeConfig` is `kubeconfig`. Of
several spellings the last one counts. This is so for Multus' own keys, the daemon's, and those of a
network that CNI itself reads; the other keys of a network are its plugin's. `multus validate` warns
of another spelling, and of every value that is taken as another one.

A key that selects networks is never ignored: while the plugin that reads it is not installed, or
cannot be loaded, an ADD fails and says what to install. The keys of the daemon are in a file of its
own, and [at the end of this page](#the-daemon).
"""

_NETWORK = """\
## Keys of a network

In every configuration of a network, wherever it is written: an entry of `delegates`, a file in
`confDir`, an API object. All other keys belong to its plugin and reach it as they were written.
"""


_INSTALLER = """\
## The installer

In the file of `multus install --settings`, beside the keys of Multus and of its plugins. It is not
in the configuration that is written.
"""

_DAEMON = """\
## The daemon

In its own file, see [the daemon](daemon.md#settings). The file may be missing, and so may every
key.
"""

REFERENCE = """\
# Reference

Everything that a plugin may import. Of a module, the names in its `__all__` are public; without
one, those that it defines and that do not begin with an underscore. [Stability](stability.md) says
what may change, and when.

`from multus import hookimpl` marks a hook. The hooks are in [Hooks](hooks.md).
"""

_PAGES = {
    "multus.api": "Values, hooks, and what a plugin is given: below, module by module.\n",
    "multus.inprocess": "Invokers of links: see [their page](inprocess.md).\n",
    "multus.ipam": "IP address management for in-process invokers: see [IPAM](ipam.md).\n",
    "multus.log": "The log that `session.log` is, and one of a plugin's own.\n",
    "multus.netlink": "Links, addresses, routes and rules: see [netlink](netlink.md).\n",
    "multus.testing": "For tests: namespaces, an API server, and the conformance suite.\n",
}
_BEGIN, _END = "<!-- The comparison: written by _generate.py -->", "<!-- End of the comparison -->"
_HEADINGS = {
    "annotation": "Annotations",
    "element key": "Keys of an element of `k8s.v1.cni.cncf.io/networks`",
    "configuration key": "Keys of the configuration",
    "daemon key": "Keys of `daemon-config.json`",
    "endpoint": "Endpoints",
    "event": "Events",
    "metric": "Metrics",
    "file": "Files",
    "behaviour": "Behaviour",
}
_HEAD = "| module | what it is for |\n|---|---|"

#: Modules of the API that have pages of their own.
_ELSEWHERE = ("multus.api", "multus.api.hookspecs", "multus.api.ipam", "multus.api.kubernetes")
_ELSEWHERE += ("multus.api.kubernetes.networks",)


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` compare them; the exit status."""
    stale = []
    for name, text in pages().items():
        path = HERE / name
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"not as generated: {', '.join(stale)}: run python docs/_generate.py")
    return 1 if stale else 0


def pages() -> dict[str, str]:
    """The text of each page by its name."""
    return {
        "hooks.md": hooks_page(),
        "configuration.md": configuration_page(load(discover())),
        "commands.md": commands_page(),
        "reference.md": reference_page(),
        "migration.md": migration_page((HERE / "migration.md").read_text(encoding="utf-8")),
        "../deploy/helm/multus/values.schema.json": chart_schema(load(discover())),
        **figures(),
    }


def chart_schema(installed: Installed) -> str:
    """The schema of the chart's values, with the keys of the daemon and of Multus."""
    sys.path.append(str(HERE.parent))
    from tools import chartschema

    written = json.loads((HERE.parent / "deploy/helm/multus/values.schema.json").read_text())
    own = [*OWN, *_owners(installed), OVERRIDE_NETWORK_NAME]
    return chartschema.updated(written, [key for key in own if key.of == MULTUS])


def figures() -> dict[str, str]:
    """The parts of performance.md, of the figures of the last run of the benchmark."""
    sys.path.append(str(HERE.parent))
    from bench import page
    from bench.report import Report

    made = page.pages(Report.read(HERE / "_static" / "bench.json"))
    return {f"_static/{name}": text for name, text in made.items()}


def commands_page() -> str:
    """Every command, with its options and examples."""
    sys.path.append(str(HERE))
    import _commands

    return str(_commands.page(parser(), kubectl.parser()))


# --- Hooks ----------------------------------------------------------------------------------------


def hooks_page() -> str:
    """The contract of plugins."""
    introduction = inspect.getdoc(hookspecs) or ""
    title, _, rest = introduction.partition("\n")
    parts = [f"# Hooks\n\n{_markdown(title.partition(': ')[2].capitalize())}\n{_markdown(rest)}\n"]
    source = inspect.getsource(hookspecs)
    for banner, hook in re.findall(r"^# --- (.+?) -+$|^def (multus_\w+)\(", source, re.MULTILINE):
        parts.append(f"## {banner}\n" if banner else _hook(hook))
    return "\n".join(parts)


def _hook(name: str) -> str:
    function = getattr(hookspecs, name)
    text, _, example = (inspect.getdoc(function) or "").partition("Example::\n")
    summary, _, rest = text.partition("\n")
    rows = [f"- **{part}**: {_part(rest, part)}" for part in PARTS]
    return "\n".join(
        [
            f"### `{name}`\n",
            f"{_markdown(summary)}\n",
            f"```text\n{_signature(name)}\n```\n",
            *rows,
            f"\n```python\n{textwrap.dedent(example).strip()}\n```\n",
        ]
    )


def _signature(name: str) -> str:
    source = inspect.getsource(getattr(hookspecs, name))
    found = re.search(r"^def .*?:$", source, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0].removeprefix("def ").rstrip(":")


def _part(text: str, name: str) -> str:
    found = re.search(rf"^{name}: (.+?)(?=^[A-Z][a-z]+:|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return _markdown(" ".join(found[1].split()))


def _markdown(text: str) -> str:
    """reStructuredText's ``literal`` as Markdown's."""
    return re.sub(r"``(.+?)``", r"`\1`", text)


# --- The public modules ---------------------------------------------------------------------------


def reference_page() -> str:
    """What plugins may import: each public module with its first line, and those of the API."""
    parts = [REFERENCE]
    for package in PUBLIC:
        rows = [f"| `{name}` | {_summary(name)} |" for name in _public_modules(package)]
        parts.append("\n".join([f"## `{package}`\n", _PAGES[package], _HEAD, *rows, ""]))
    parts.append("## `multus.api`, module by module\n")
    for name in _public_modules("multus.api"):
        if name not in _ELSEWHERE:
            directive = f".. automodule:: {name}\n   :members:"
            parts.append(f"### `{name}`\n\n```{{eval-rst}}\n{directive}\n```\n")
    return "\n".join(parts)


def _public_modules(package: str) -> list[str]:
    """The modules of *package* without an underscore, and itself when it says anything."""
    found = importlib.import_module(package)
    within = pkgutil.walk_packages(found.__path__, f"{package}.")
    names = [each.name for each in within]
    return [package, *(name for name in names if not re.search(r"\._|\.test_", name))]


def _summary(name: str) -> str:
    text = inspect.getdoc(importlib.import_module(name)) or ""
    return _markdown(" ".join(text.partition("\n\n")[0].split()))


# --- The comparison with the Go Multus ------------------------------------------------------------


def migration_page(written: str) -> str:
    """The page as it is written, with the rows between its two marks."""
    before, begin, rest = written.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin and end, "migration.md has no marks for the comparison"
    tables = "\n".join(_comparison(kind) for kind in comparison.KINDS)
    return f"{before}{begin}\n\n{tables}\n{end}{after}"


def _comparison(kind: str) -> str:
    rows = [row for row in comparison.rows() if row.kind == kind]
    lines = [f"### {_HEADINGS[kind]}\n", "| | | what differs, why, and which setting changes it |"]
    lines += ["|---|---|---|"]
    for row in rows:
        name = row.name if " " in row.name.split("<")[0] else f"`{row.name}`"
        lines.append(f"| {name} | {row.verdict} | {row.text.replace('<', '&lt;')} |")
    return "\n".join(lines) + "\n"


# --- Configuration --------------------------------------------------------------------------------


def configuration_page(installed: Installed) -> str:
    """Every key of the core, of the loaded plugins, of the installer and of the daemon."""
    owners = _owners(installed)
    parts = [CONFIGURATION, f"## Multus itself\n\n{_table(OWN)}"]
    for names in sorted(set(owners.values())):
        keys = [key for key, owner in owners.items() if owner == names and key.of == MULTUS]
        if keys:
            parts.append(f"## {' and '.join(names)}\n\n{_table(keys)}")
    network = [*OF_NETWORKS, *(key for key in owners if key.of == NETWORK)]
    parts.append(f"{_NETWORK}\n{_table(network)}")
    for kind in sorted({key.of for key in owners} - {MULTUS, NETWORK}):
        keys = [key for key in owners if key.of == kind]
        names = " and ".join(owners[keys[0]])
        parts.append(f"## Keys of `{kind}` networks, carried out by {names}\n\n{_table(keys)}")
    parts.append(f"{_INSTALLER}\n{_table([OVERRIDE_NETWORK_NAME])}")
    parts.append(f"{_DAEMON}\n{_table(daemon_keys.KEYS)}")
    return "\n".join(parts)


def _owners(installed: Installed) -> dict[Key, tuple[str, ...]]:
    """Each key of a plugin, and the distributions whose plugins read it."""
    distributions = {entry.name: entry.distribution for entry in installed.loaded}
    owners: dict[Key, tuple[str, ...]] = {}
    for implementation in installed.hooks.implementations("multus_keys"):
        owner = distributions[implementation.plugin_name]
        for key in implementation.function():
            owners[key] = tuple(dict.fromkeys((*owners.get(key, ()), owner)))
    return owners


def _table(keys: Iterable[Key]) -> str:
    keys = list(keys)
    # A search for a key's name finds its table first.
    entries = ", ".join(f"! {key.name}" for key in keys)
    rows = [f"```{{index}} {entries}\n```\n", "| key | type | default | |", "|---|---|---|---|"]
    for key in keys:
        given = "" if key.default is None else f"`{json.dumps(key.default)}`"
        default = "needed" if key.required else given
        rows.append(f"| `{key.name}` | {key.kind} | {default} | {key.text} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
