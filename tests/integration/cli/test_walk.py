"""Every command with a full or a closed standard output, and as an ordinary user: no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multus.cli import names

#: Runs each command in a fork of one interpreter, which has imported what all of them need.
WALK = """
import json, os, sys
import multus.__main__, multus.cli
from multus.cli import screen

how, folder = sys.argv[1:]
walk = json.load(sys.stdin)
multus.cli.parser()
for number, words in enumerate(walk):
    child = os.fork()
    if child == 0:
        said = "/dev/full" if how == "full" else f"{folder}/{number}.out"
        os.dup2(os.open(f"{folder}/{number}.err", os.O_CREAT | os.O_WRONLY, 0o600), 2)
        os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY, 0o600), 1)
        if how == "closed":
            os.close(1)
            sys.stdout = None
        sys.argv = ["multus", *words]
        multus.__main__.program()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([words, status, open(f"{folder}/{number}.err").read()]), flush=True)
"""


def walk(folder: Path) -> list[list[str]]:
    """Each command with arguments that print something, and change nothing."""
    conf, state = f"{folder}/net.d/00-multus.conf", f"{folder}/state"
    node = ("--net-d", f"{folder}/net.d", "--socket", f"{folder}/none")
    words: dict[str, tuple[str, ...]] = {
        "apply": ("c1", "--dry-run", "--cni-dir", state),
        "attachments": ("--cni-dir", state),
        "completion": ("bash",),
        "conformance": ("--help",),
        "convert": ("-f", f"{folder}/nad.json"),
        "daemon": ("--help",),
        "demo": ("--help",),
        "doctor": (*node, "--cni-dir", state),
        "events": ("--cni-dir", state),
        "explain": ("--conf", conf),
        "gc": ("--dry-run", "--cni-dir", state),
        "graph": ("--cni-dir", state),
        "help": (),
        "install": ("--dry-run", "--net-d", f"{folder}/net.d"),
        "ipam": ("--help",),
        "man": (),
        "new-plugin": ("--help",),
        "plugins": (),
        "serve": ("--help",),
        "status": node,
        "top": node,
        "trace": ("--cni-dir", state),
        "uninstall": ("--net-d", f"{folder}/net.d", "--cni-dir", state),
        "validate": ("-f", conf),
        "version": (),
    }
    assert sorted(words) == names()
    return [[name, *rest] for name, rest in words.items()] + [[]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A node's files, which root alone may read, in a folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as path:
        yield filled(Path(path))


def filled(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    for name in ("net.d", "state", "said"):
        (tmp_path / name).mkdir(mode=0o700)
    delegate = {"type": "ptp", "name": "lan"}
    conf = {"cniVersion": "1.0.0", "name": "n", "type": "multus", "delegates": [delegate]}
    conf["cniDir"] = str(tmp_path / "state")
    (tmp_path / "net.d" / "00-multus.conf").write_text(json.dumps(conf))
    (tmp_path / "state.trace").write_text(
        '{"time": 1, "command": "ADD", "container": "c1", "stages": {}, "delegates": []}\n'
    )
    (tmp_path / "state.trace").chmod(0o600)
    nad = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
    nad["metadata"] = {"name": "a"}  # type: ignore[assignment]
    (tmp_path / "nad.json").write_text(json.dumps(nad))
    return tmp_path


def walked(folder: Path, how: str) -> list[tuple[list[str], int, str]]:
    ordinary = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    prefix = ordinary if how == "ordinary" else []
    if prefix and subprocess.run([*prefix, sys.executable, "-c", "import multus"]).returncode:
        pytest.skip("the program is in a folder that only root may enter")
    done = subprocess.run(
        [*prefix, sys.executable, "-c", WALK, how, str(folder / "said")],
        input=json.dumps(walk(folder)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stderr
    found: list[tuple[list[str], int, str]] = [
        tuple(json.loads(line)) for line in done.stdout.splitlines()
    ]
    assert len(found) == len(walk(folder))
    for words, _, err in found:
        assert "Traceback" not in err and "internal error" not in err, (words, err)
    return found


@pytest.mark.parametrize("how", ["full", "closed"])
def test_without_an_output_every_command_fails_in_a_line(folder: Path, how: str) -> None:
    reason = {"full": "No space left on device", "closed": "standard output is closed"}[how]
    wrong: list[Any] = [
        each
        for each in walked(folder, how)
        # With a container that is not there, it ends before it prints.
        if each[1] != 1 or (reason not in each[2] and each[0][:1] != ["apply"])
    ]
    assert wrong == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_an_ordinary_user_gets_answers_without_a_traceback(folder: Path) -> None:
    (folder / "said").chmod(0o777)
    found = {words[0] if words else "": status for words, status, _ in walked(folder, "ordinary")}
    for name in ("", "help", "version", "completion", "man", "plugins"):
        assert found[name] == 0, name
    for name in ("trace", "attachments", "events", "status", "gc", "doctor", "explain"):
        assert found[name] in (1, 3), name
