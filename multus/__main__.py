"""The program: the CNI plugin when ``CNI_COMMAND`` is set, a command line otherwise."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as signal, without its enumerations
import atexit
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multus.api.conf import Conf
    from multus.api.spelling import Spelling
    from multus.engine.pipeline import Engine


def program() -> NoReturn:
    """The entry point: run :func:`main`, then end the process."""
    _open_what_is_closed()
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _interrupt)
    if os.getpid() == 1:
        # The kernel keeps SIGTERM from a container's first process unless that handles it; the
        # container would live on for all of its grace period.
        _signal.signal(_signal.SIGTERM, _terminate)
    status = main()
    if "CNI_COMMAND" in os.environ:
        _leave(status)
    sys.exit(status)


def main() -> int:
    """Run the CNI plugin or the command line; returns the exit status."""
    if "CNI_COMMAND" in os.environ:
        return plugin()
    from multus.cli import main as command_line
    from multus.cli import screen, telling

    screen.claim()
    words = sys.argv[1:]
    telling.begin(f"multus {words[0]}" if words else "multus")
    try:
        return command_line(words)
    finally:
        telling.end()


def plugin() -> int:
    """Carry out one CNI call: by the node's daemon, else by the engine in this process."""
    from multus.cni import shim

    if sys.stdout is None:
        return _unanswered("it is closed: the runtime would not learn what an ADD did")
    answer_to, warm = _set_aside(), None
    try:
        (status, stdout), warm = _answer(answer_to)
    except KeyboardInterrupt:
        status, stdout = shim.error_answer(b"", 11, b"interrupted by SIGINT: call it again")
    except BaseException as error:  # noqa: BLE001  the runtime must get an error object
        sys.excepthook(type(error), error, error.__traceback__)
        text = f"internal error: {type(error).__name__}: the traceback is on standard error"
        status, stdout = shim.error_answer(b"", 999, text.encode())
    try:
        _write(answer_to, stdout)
    except OSError as error:
        return _unanswered(str(error.strerror))
    if warm is not None and status == 0:
        from multus.cni import warm as engines

        engines.leave(*warm)
    return status


def _interrupt(_number: int, _frame: object) -> NoReturn:
    from multus.api.errors import Interrupted

    raise Interrupted


def _terminate(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _answer(answer_to: int) -> tuple[tuple[int, bytes], tuple[str, bytes] | None]:
    """The answer, and the warm engine that this call may leave: its socket, the configuration."""
    from multus.cni import shim

    # Delegates inherit the environment, and are no callers of that engine.
    path = os.environb.pop(b"MULTUS_WARM", b"")
    unanswered = os.environb.pop(b"MULTUS_UNANSWERED", b"")
    command = os.environb[b"CNI_COMMAND"]
    if command not in shim.COMMANDS:
        # It will be refused: do not read stdin, it may never end.
        return _in_place(b"", answer_to), None
    stdin = shim.read_stdin()
    # A shim that found no daemon sets this, so that this process does not look for one again.
    if "MULTUS_STANDALONE" not in os.environ:
        answer = shim.ask(os.environb, stdin)
        if not isinstance(answer, bytes):
            return answer, None
        unanswered = answer
        daemon = os.environb.get(b"MULTUS_SOCKET", shim.SOCKET)
        path = shim.warm_engine(os.environb, stdin, daemon)
    # Runtimes ask for the STATUS every few seconds: an engine for that would never end.
    leaves = path and command not in (b"STATUS", b"VERSION")
    answer = _in_place(stdin, answer_to, unanswered)
    return answer, (os.fsdecode(path), stdin) if leaves else None


def _write(answer_to: int, stdout: bytes) -> None:
    """Write the answer unbuffered: at exit, the interpreter would retry a failed buffered write."""
    while stdout:
        stdout = stdout[os.write(answer_to, stdout) :]


def _set_aside() -> int:
    """Reserve standard output for the answer; returns a descriptor for it.

    Output of plugins, their children and exit handlers goes to standard error: the runtime cannot
    decode an answer with other text beside it.
    """
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


def _unanswered(reason: str) -> int:
    """Write to stderr why there is no answer; returns a status that makes a runtime undo an ADD."""
    try:
        sys.stderr.write(f"multus: cannot write the answer to standard output: {reason}\n")
        sys.stderr.flush()
    except (AttributeError, OSError):
        return 1  # stderr is closed or full as well
    return 1


def _open_what_is_closed() -> None:
    """Open /dev/null for closed standard streams: the next opened file would become a stream."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            continue
        os.close(descriptor)


def _in_place(stdin: bytes, answer_to: int, unanswered: bytes = b"") -> tuple[int, bytes]:
    """Carry the call out in this process; *unanswered* as ``shim.ask`` returns it."""
    import gc

    from multus.api import progress
    from multus.cni import skel

    # A process that a plugin forks leaves the request to this one.
    os.register_at_fork(after_in_child=progress.leave_to_parent)
    # A process for one call ends before its garbage matters.
    gc.disable()
    with skel.exits_answered(stdin, partial(_write, answer_to)):
        if unanswered:
            from multus.cni import unanswered as calls

            calls.tell(unanswered, os.environ, stdin)
            if calls.is_undone(unanswered, os.environ):
                return calls.undo(os.environ, stdin, _engine_for, _spelling)
        refusal = _refused_for_kept_dels(stdin)
        return refusal or skel.answer(os.environ, stdin, _engine_for, spelling=_spelling)


def _refused_for_kept_dels(stdin: bytes) -> tuple[int, bytes] | None:
    """Carry out what shims have kept of this container while they found neither daemon nor engine.

    A later call comes after its container's DELs: with the answer when one of them fails.
    """
    from multus.cni import shim

    container = os.environb.get(b"CNI_CONTAINERID")
    if not container:
        return None
    folder = shim.text_of(stdin, b"cniDir", b"/_.-", shim.CNI_DIR) + b"/" + shim.SPOOL
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return None
    # A name is the moment, a dot and the container; one that begins with a dot is not whole.
    kept = [each for each in names if each[:1] != b"." and each.partition(b".")[2] == container]
    if not kept:
        return None
    from multus.cni import skel
    from multus.daemon import spooled

    def handle(environ: Mapping[str, str], stdin: bytes, deadline: float) -> tuple[int, bytes]:
        return skel.answer(environ, stdin, _engine_for, deadline, spelling=_spelling)

    paths = [os.fsdecode(b"%s/%s" % (folder, each)) for each in kept]
    return spooled.carry_out_first(paths, os.environ, stdin, handle)[1]


def _leave(status: int) -> None:
    """End this process, unless a plugin's thread still runs.

    The interpreter's shutdown would destroy every module, which takes as long as an attachment.
    """
    threads = sys.modules.get("threading")
    if threads is None or threads.active_count() == 1:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):  # closed, also by a plugin, or full
                continue
        os._exit(status)


def _engine_for(conf: Conf, deadline: float | None) -> Engine:
    # An error in the environment or in the JSON is answered without the engine.
    from multus.engine.assembly import engine_for

    return engine_for(conf, deadline)


def _spelling() -> Spelling:
    from multus.engine.assembly import spelling

    return spelling()


if __name__ == "__main__":
    program()
