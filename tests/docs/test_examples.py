"""Every example in the documentation runs, and says what the page says that it says.

* ``console``: a session of the page's own, in a shell, with a network and CNI folders of its own.
  What follows ``$ `` is run; what is shown below it has to come out, ``…`` standing for anything.
  A command that shows nothing has to succeed.
* ``json`` and ``yaml``: has to parse; what Multus reads has to pass ``multus validate``.
* ``python``: has to run, with the names that pages use for what a reader has: a ``pod`` and the
  ``host``, an ``invocation``, a stack of things to ``undo``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^( *)(`{3,})(\w*)[^\n]*\n(.*?)^\1\2`*$", re.MULTILINE | re.DOTALL)
_MARK = "\x1e"

_TERMINAL = {"COLUMNS": "100", "TERM": "dumb", "PYTEST_ADDOPTS": ""}

#: Gives the session folders and a network of its own. What CNI has under /etc and /opt is empty, as
#: on a new machine; the reference plugins are where the system's package has put them.
_PRELUDE = """
set -u
for folder in /etc/cni /opt/cni /var/lib/cni /run/netns /run/multus; do
    mkdir -p $folder && mount -t tmpfs -o mode=755 tmpfs $folder
done
ip link set lo up
exec 2>&1
"""


@frozen
class Example:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@frozen
class Step:
    """A command of a session, and what the page shows below it."""

    command: str
    shown: str
    place: str


def examples(page: Path, *languages: str) -> list[Example]:
    text = page.read_text()
    found = (
        Example(page, text.count("\n", 0, each.start()) + 1, each[3], _dedent(each[4], each[1]))
        for each in _FENCE.finditer(text)
    )
    return [each for each in found if each.language in languages]


def _dedent(text: str, margin: str) -> str:
    return "".join(line.removeprefix(margin) for line in text.splitlines(keepends=True))


def steps(example: Example) -> list[Step]:
    """The commands of a console block; a command goes on while its quotes are open."""
    found: list[Step] = []
    lines = example.text.splitlines()
    while lines:
        line = lines.pop(0)
        assert line.startswith("$ "), f"{example}: a session starts with '$ ': {line!r}"
        command = line[2:]
        while _unfinished(command):
            command += "\n" + lines.pop(0)
        shown = []
        while lines and not lines[0].startswith("$ "):
            shown.append(lines.pop(0))
        found.append(Step(command, "\n".join(shown), str(example)))
    return found


def _unfinished(command: str) -> bool:
    here = re.search(r"<<-?\s*'?(\w+)'?", command)
    if here:
        return not re.search(rf"^{here[1]}$", command, re.MULTILINE)
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return command.endswith("\\")


def _pattern(shown: str) -> str:
    # Columns move with what is in them, so a space stands for any number of them.
    lines = (
        re.sub(r"(\\ )+", "[ \\t]+", re.escape(line.rstrip())).replace("…", ".*?")
        for line in shown.splitlines()
    )
    return r"\s*" + r"[ \t]*\n".join(lines) + r"\s*"


def _in_sandbox(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # What a session installs goes into a folder of its own, which its interpreter knows.
    site = {"PIP_TARGET": f"{folder}/site", "PYTHONPATH": f"{folder}/site"}
    site["PYTEST_DEBUG_TEMPROOT"] = str(folder)
    quick = {"PIP_NO_DEPS": "1", "PIP_QUIET": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}:/usr/sbin:/sbin"
    return subprocess.run(
        ["unshare", "--mount", "--net", "bash", "-c", script],
        cwd=folder,
        env={**os.environ, **site, **quick, "PATH": path, "HOME": str(folder), **_TERMINAL},
        capture_output=True,
        text=True,
        timeout=300,
    )


SESSIONS = {
    page: [step for each in examples(page, "console") for step in steps(each)] for page in PAGES
}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if SESSIONS[page]], ids=lambda page: page.name
)
def test_sessions_say_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    session = SESSIONS[page]
    if os.geteuid() != 0:
        pytest.skip("a session needs root, at least of a user namespace")
    if any("kubectl" in step.command for step in session) and shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    if any("multus-shim" in step.command for step in session) and not shutil.which("cc"):
        pytest.skip("no C compiler")
    script = _PRELUDE + "".join(
        f"{step.command}\nprintf '\\n{_MARK}%s{_MARK}' $?\n" for step in session
    )
    done = _in_sandbox(script, tmp_path)
    parts = done.stdout.split(_MARK)
    said, statuses = parts[0::2], parts[1::2]
    assert len(statuses) == len(session), f"the session ended early:\n{done.stdout}{done.stderr}"
    for step, output, status in zip(session, said, statuses, strict=False):
        if step.shown:
            fits = re.fullmatch(_pattern(step.shown), output, re.DOTALL)
            assert fits, f"{step.place}: $ {step.command}\nsays:\n{output}\nnot:\n{step.shown}"
        else:
            assert status == "0", f"{step.place}: $ {step.command}\nfailed with:\n{output}"


DATA = [each for page in PAGES for each in examples(page, "json", "yaml")]


@pytest.mark.parametrize("example", DATA, ids=str)
def test_data_parses_and_what_multus_reads_is_valid(example: Example, tmp_path: Path) -> None:
    import yaml

    text = example.text
    read = json.loads(text) if example.language == "json" else list(yaml.safe_load_all(text))
    values = read if isinstance(read, list) else [read]
    if not any(_is_ours(value) for value in values):
        return
    file = tmp_path / f"example.{example.language}"
    file.write_text(example.text)
    argv = [sys.executable, "-m", "multus", "validate", "--off-node", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True)
    # 3: the definitions that a pod names stand in other examples.
    assert done.returncode in (0, 3), f"{example}:\n{done.stdout}{done.stderr}"


def _is_ours(value: object) -> bool:
    return isinstance(value, dict) and (
        value.get("type") == "multus"
        or value.get("kind") in ("NetworkAttachmentDefinition", "Network", "Pod")
    )


CODE = [each for page in PAGES for each in examples(page, "python")]


_NAMES = """
from contextlib import ExitStack
from multus.netlink import Namespace, open_channel
from multus.testing.invocation import Caller
from multus.testing.netns import Node
node, pod, host, undo = Node.create(), Namespace("/run/netns/pod"), open_channel(), ExitStack()
outside = Namespace(node.path)
_ipam = {"type": "host-local", "subnet": "10.1.0.0/24"}
invocation = Caller(netns="/run/netns/pod").invocation("ADD", {"type": "ptp", "ipam": _ipam})
"""


@pytest.mark.parametrize("example", CODE, ids=str)
def test_code_runs(example: Example, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the examples need root, at least of a user namespace")
    code = tmp_path / "example.py"
    code.write_text(f"{_NAMES}\n{example.text}")
    done = _in_sandbox(f"{_PRELUDE}ip netns add pod\nexec {sys.executable} {code}", tmp_path)
    assert done.returncode == 0, f"{example}:\n{done.stdout}{done.stderr}"
