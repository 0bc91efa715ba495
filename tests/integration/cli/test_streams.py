"""The program with standard streams that are full, closed or never end; and without words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from unit.registry.site import Site
from waiting import PATIENCE, eventually

from multus import __version__
from multus.cli import names

#: A command that prints something, whatever the machine is.
PRINTING = ("plugins", "plugins --json", "man", "completion bash", "--help", "help", "version")


def said(
    program: Sequence[str], words: str, redirection: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """The program in a shell that redirects its streams."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *program, *words.split()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], **environ},
    )


@pytest.mark.parametrize("words", PRINTING)
def test_a_full_standard_output_is_one_line_and_a_failure(
    cni_program: Sequence[str], words: str
) -> None:
    done = said(cni_program, words, ">/dev/full")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("multus") and "standard output: No space left on device" in line


@pytest.mark.parametrize("words", PRINTING)
def test_a_closed_standard_output_is_one_line_and_a_failure(
    cni_program: Sequence[str], words: str
) -> None:
    done = said(cni_program, words, ">&-")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("multus: standard output is closed")


@pytest.mark.parametrize("redirection", [">/dev/full 2>/dev/full", ">&- 2>&-"])
def test_without_any_stream_the_status_says_it(
    cni_program: Sequence[str], redirection: str
) -> None:
    assert said(cni_program, "plugins", redirection).returncode == 1


def test_a_reader_that_has_seen_enough_is_no_error_that_is_told(
    cni_program: Sequence[str],
) -> None:
    done = said(cni_program, "man", "| head -c 1 >/dev/null")
    assert done.stderr == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
@pytest.mark.parametrize("words", ["trace", "attachments", "gc --dry-run"])
def test_an_ordinary_user_is_told_in_a_line(
    cni_program: Sequence[str], tmp_path: Path, words: str
) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state.trace").write_text("{}\n")
    (tmp_path / "state.trace").chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    ordinary = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if said([*ordinary, *cni_program], "--version", "").returncode:
        pytest.skip("the program is in a folder that only root may enter")
    command = f"{words} --cni-dir {tmp_path}/state"
    done = said([*ordinary, *cni_program], command, "")
    assert done.returncode == 1
    told = (done.stdout + done.stderr).splitlines()
    # gc also looks at the machine's firewall, which needs a right of its own.
    told = [each for each in told if not each.endswith("capability NET_ADMIN, as root has it")]
    assert len(told) == 1 and "Permission denied: run it as root" in told[0], done


# --- Plugins that print ---------------------------------------------------------------------------

CHATTY = """
import os, subprocess
from multus import hookimpl

def chat(where):
    print(f"words {where}")
    os.write(1, f"bytes {where}\\n".encode())
    subprocess.run(["echo", f"child {where}"])

chat("at import")

@hookimpl
def multus_health(conf): chat("in health")

@hookimpl
def multus_validate(conf): chat("in validate")

@hookimpl
def multus_keys(): chat("in keys")

@hookimpl
def multus_select(request, conf): chat("in select")
"""
CONF = {"cniVersion": "1.0.0", "name": "n", "type": "multus", "delegates": [{"type": "ptp"}]}
#: Commands that call plugins, and where one of them prints.
CALLING = {
    "plugins --json": "at import",
    "validate --json -f @CONF@": "in validate",
    "explain --json --conf @CONF@": "in select",
    "doctor --json --conf @CONF@": "in health",
}


@pytest.mark.parametrize("words", CALLING)
def test_what_a_plugin_prints_is_in_no_document(
    cni_program: Sequence[str], tmp_path: Path, words: str
) -> None:
    site = Site(tmp_path / "site", tmp_path / "index.json")
    site.folder.mkdir()
    site.install("chatty", CHATTY)
    conf = tmp_path / "00-multus.conf"
    conf.write_text(json.dumps({**CONF, "cniDir": str(tmp_path / "state")}))
    words = words.replace("@CONF@", str(conf))
    done = said(cni_program, words, "", PYTHONPATH=str(site.folder))
    assert isinstance(json.loads(done.stdout), dict), done.stderr
    for kind in ("words", "bytes", "child"):
        assert f"{kind} {CALLING[words.replace(str(conf), '@CONF@')]}" in done.stderr


# --- Interrupted ----------------------------------------------------------------------------------

HANGING = """
import time
from multus import hookimpl

@hookimpl
def multus_validate(conf):
    open(conf.raw["begun"], "w").close()
    time.sleep(60)
"""


def interrupted(
    program: Sequence[str], tmp_path: Path, words: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """The program, sent a SIGINT while a plugin's hook runs."""
    site = Site(tmp_path / "site", tmp_path / "index.json")
    site.folder.mkdir()
    site.install("hanging", HANGING)
    begun = tmp_path / "begun"
    conf = tmp_path / "00-multus.conf"
    text = json.dumps({**CONF, "cniDir": str(tmp_path / "state"), "begun": str(begun)})
    conf.write_text(text)
    process = subprocess.Popen(
        [*program, *words.replace("@CONF@", str(conf)).split()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site.folder), **environ},
        # A shell starts jobs in the background with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.close()
    process.stdin = None
    eventually(begun.exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_an_interrupted_command_ends_and_blames_no_plugin(
    cni_program: Sequence[str], tmp_path: Path
) -> None:
    done = interrupted(cni_program, tmp_path, "explain --conf @CONF@")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupted_call_is_answered(cni_program: Sequence[str], tmp_path: Path) -> None:
    call = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/none"}
    call |= {"CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin", "MULTUS_STANDALONE": "1"}
    done = interrupted(cni_program, tmp_path, "", **call)
    assert done.returncode == 1
    error = json.loads(done.stdout)
    assert (error["code"], "interrupted by SIGINT" in error["msg"]) == (11, True)


# --- As a plugin ----------------------------------------------------------------------------------


def plugin(program: Sequence[str], command: str, redirection: str) -> tuple[int, str, str]:
    environ = {"CNI_COMMAND": command, "MULTUS_STANDALONE": "1"}
    done = said(program, "", redirection, **environ)
    return done.returncode, done.stdout, done.stderr


def test_an_unknown_command_is_refused_before_stdin_ends(cni_program: Sequence[str]) -> None:
    process = subprocess.Popen(
        cni_program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "CNI_COMMAND": "FOO"},
    )
    assert process.wait(PATIENCE) == 1  # its stdin is still open
    out, _ = process.communicate()
    assert json.loads(out)["code"] == 4
    assert "unknown CNI_COMMAND: use one of" in json.loads(out)["msg"]


@pytest.mark.parametrize("redirection", [">/dev/full </dev/null", ">&- </dev/null"])
def test_an_answer_that_cannot_be_written_is_a_failure(
    cni_program: Sequence[str], redirection: str
) -> None:
    status, _, err = plugin(cni_program, "VERSION", redirection)
    assert status == 1
    (line,) = err.splitlines()
    assert line.startswith("multus: cannot write the answer to standard output: ")


def test_a_closed_stdin_is_an_empty_configuration(cni_program: Sequence[str]) -> None:
    status, out, _ = plugin(cni_program, "STATUS", "<&-")
    assert (status, json.loads(out)["code"]) == (1, 4)


def test_a_log_line_goes_into_no_file_that_took_the_place_of_a_closed_stderr(
    tmp_path: Path,
) -> None:
    code = (
        "import os, sys; from multus.__main__ import _open_what_is_closed as fix; fix();"
        f"print(os.open({str(tmp_path / 'file')!r}, os.O_CREAT | os.O_RDWR))"
    )
    for redirection in ("2>&-", "2>&- <&-"):
        done = said([sys.executable, "-c", code], "", redirection)
        assert int(done.stdout) > 2


# --- Without words --------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["", "help", "--help"])
def test_bare_it_shows_help(cni_program: Sequence[str], words: str) -> None:
    done = said(cni_program, words, "</dev/null")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: multus")
    assert [name for name in names() if name not in done.stdout] == []


def test_help_of_a_command_and_the_version(cni_program: Sequence[str]) -> None:
    shown = said(cni_program, "help explain", "").stdout
    assert shown.startswith("usage: multus explain")
    assert shown == said(cni_program, "explain --help", "").stdout
    for words in ("version", "--version"):
        assert said(cni_program, words, "").stdout == f"multus {__version__}\n"
    unknown = said(cni_program, "help nothing", "")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "'multus help' lists all" in unknown.stderr
