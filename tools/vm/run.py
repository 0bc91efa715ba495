"""``./dev vm``: pytest on a full kernel, user-mode Linux, whatever this machine's kernel has.

User-mode Linux is a kernel that runs as a process. Debian's has the kinds of link that a small
kernel lacks: vlan, ipvlan, dummy, vrf, ifb, filtered bridges, qdiscs. A machine has one processor,
so there is a machine for each that this machine has, and pytest-xdist gives them the tests: it
starts a machine as if it was a Python interpreter, and a serial line is the pipe between them. So
the summary and the exit status are pytest's own.

A machine sees the files below it through an overlay in its memory: what tests write goes with it.
It has no network but its own loopback.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
CHECKOUT = TOOLS.parent.parent
KERNEL = "linux.uml"
MEMORY = "1536M"  # at most: it is taken as it is used
SECONDS = 120  # in which a machine has to be up; about two are needed
SLOWNESS = 8  # times, for what starts processes

#: The exit status when no machine comes up here; pytest has none above 5.
UNAVAILABLE = 69

WHOLE_SUITE = ("tests/integration", "--known-skips", "tests/skips/vm.txt")


def main(arguments: Sequence[str]) -> int:
    """Run pytest with the *arguments* on machines; its exit status."""
    with tempfile.TemporaryDirectory(prefix="multus-vm-") as name:
        folder = Path(name)
        environ = prepare(folder)
        processors = sorted(os.sched_getaffinity(0))
        reason = shortcoming(interpreter(folder, processors[0]), environ)
        if reason:
            say(f"user-mode Linux does not start on this machine: {reason}")
            say(console(folder))
            return UNAVAILABLE
        machines = [interpreter(folder, each) for each in processors]
        say(f"pytest on {len(machines)} machines with user-mode Linux")
        if not arguments:
            say("all of tests/integration takes one to two hours with two processors")
        transports = [part for each in machines for part in ("--tx", f"popen//python={each}")]
        options = ["--dist", "worksteal", "--timeout", str(240 * SLOWNESS), *transports]
        options += ["-p", "tools.vm.progress"]  # found from the checkout, as the current folder
        command = [sys.executable, "-m", "pytest", *options, *(arguments or WHOLE_SUITE)]
        status = run(command, environ)
        if status not in (0, 1):
            say(console(folder))
        return status


def say(text: str) -> None:
    print(f"dev: {text}", file=sys.stderr, flush=True)


def run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """The exit status of pytest, which is also told when this process is told to end."""
    pytest = subprocess.Popen(command, env=environ, cwd=CHECKOUT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells both
    signal.signal(signal.SIGTERM, lambda *_: pytest.terminate())  # its machines end with it
    return pytest.wait()


def prepare(folder: Path) -> dict[str, str]:
    """Write what a machine reads at its start into *folder*; the environment for starting one."""
    environ = {name: value for name, value in os.environ.items() if name.isidentifier()}
    environ |= {
        "CHECKOUT": str(CHECKOUT),
        "INTERPRETER": sys.executable,
        "MULTUS_TESTS_SLOWNESS": str(SLOWNESS),
        "SITE_PACKAGES": sysconfig.get_path("purelib"),
    }
    exports = (f"export {name}={shlex.quote(value)}\n" for name, value in environ.items())
    (folder / "environment").write_text("".join(exports))
    shutil.copy(TOOLS / "init.sh", folder)
    (folder / "init.sh").chmod(0o755)
    return {**environ, "KERNEL": shutil.which(KERNEL) or KERNEL, "MEMORY": MEMORY}


def interpreter(folder: Path, processor: int) -> str:
    """The command that starts a machine on *processor*, as a shell reads it."""
    return shlex.join(["sh", str(TOOLS / "machine.sh"), str(folder), str(processor)])


def shortcoming(machine: str, environ: dict[str, str]) -> str:
    """Why no *machine* can be started here; empty if one was up, calculated, and is down again."""
    question = repr("print(6 * 7, flush=True)").encode() + b"\n"
    with subprocess.Popen(
        shlex.split(machine),
        bufsize=0,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as asked:
        assert asked.stdin is not None and asked.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            asked.stdin.write(question)
        answers, _, _ = select.select([asked.stdout], [], [], SECONDS)
        answer = asked.stdout.readline(100) if answers else b""
        asked.stdin.close()
        if not answers:
            asked.kill()
            return f"it is not up after {SECONDS} seconds"
    if answer != b"42\n":
        return f"instead of 42 it said {answer!r}, with status {asked.returncode}"
    return ""


def console(folder: Path) -> str:
    """The last lines of the machines' consoles, where kernels and tests' standard errors write."""
    lines = ["the end of their consoles:"]
    for path in sorted(folder.glob("*.console")):
        lines += [
            f"{path.stem}: {line}" for line in path.read_text(errors="replace").splitlines()[-15:]
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
