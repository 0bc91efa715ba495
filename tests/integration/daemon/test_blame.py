"""When a plugin exits or crashes, the answer names the plugin, and the log has the traceback."""

from __future__ import annotations

import json

import pytest
from waiting import eventually

from integration.blackbox.program import refused
from integration.daemon.either import Either
from multus.testing.netns import Netns
from multus.testing.runtime import Container

#: Actions of the hostile plugin that end a program, and the words in the error.
RAISING = {
    "system-exit": "SystemExit: 0",
    "keyboard-interrupt": "KeyboardInterrupt",
    "generator-exit": "GeneratorExit",
    "base-exception": "OwnError: hostile",
}
#: The name of the hostile plugin in the error, by where it acts.
NAMED = {
    "hook": "plugin 'hostile', hook 'multus_runtime_config', failed with",
    "add": "invoker 'hostile' of its_hostile failed with",
    "delete": "invoker 'hostile' of its_hostile failed with",
    "observer": "observer 'hostile' failed in multus_attached",
}


def traceback(log: str, word: str) -> str:
    """The traceback in the log's line with *word*."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return "".join(line.get("traceback", "") for line in lines if word in json.dumps(line))


def test_the_log_has_the_default_level(either: Either) -> None:
    """The tracebacks asserted below are logged without any log key."""
    conf = either.place.conf(deed="system-exit", at="hook")
    assert not [key for key in conf if key.startswith("log")]


@pytest.mark.parametrize("at", NAMED)
@pytest.mark.parametrize("deed", RAISING)
def test_an_exit_is_the_plugins_error(either: Either, cni_pod: Netns, deed: str, at: str) -> None:
    either.start()
    conf, container = either.place.conf(deed=deed, at=at), Container(cni_pod.path)
    answer = either.multus.add(conf, container)
    if at in ("hook", "add"):
        refused(answer, 999, NAMED[at], RAISING[deed])
    else:
        answer.require()
    if at == "delete":
        answer = either.multus.delete(conf, container)
        refused(answer, 999, NAMED[at], RAISING[deed])
    assert "in deed" in traceback(either.log(answer.stderr), RAISING[deed])
    either.place.calm()
    either.multus.delete(conf, container).require()
    assert cni_pod.links() == {}


@pytest.mark.parametrize("at", ["hook", "add", "delete"])
def test_one_that_ends_the_process_is_named(either: Either, cni_pod: Netns, at: str) -> None:
    """Otherwise exit status 0 and an empty standard output would mean that the DEL succeeded."""
    either.start()
    conf, container = either.place.conf(deed="leave", at=at), Container(cni_pod.path)
    answer = either.multus.add(conf, container)
    if at == "delete":
        answer.require()
        answer = either.multus.delete(conf, container)
    code, words = 999, "ended the process by os."
    if either.daemon:
        code, words = 11, "lost (process ended) in"
    refused(answer, code, "'hostile'", words)
    either.place.calm()
    either.multus.delete(conf, container).require()
    assert cni_pod.links() == {}


LEAVING = "import sys\nsys.exit('bye')\n"


def test_an_exit_while_it_is_imported_costs_the_requests_that_need_it(
    either: Either, cni_pod: Netns
) -> None:
    either.site.install("leaving", LEAVING, keys=("inventory",))
    either.start()
    container = Container(cni_pod.path)
    answer = either.multus.add({**either.place.quiet, "inventory": "/x"}, container)
    refused(answer, 7, "plugin 'leaving' of multus-leaving 1.0: SystemExit: bye", "reinstall")
    answer = either.multus.add(either.place.quiet, container).require()
    log = either.log(answer.stderr)
    assert "in <module>" in traceback(log, "not loaded: plugin 'leaving'")
    either.multus.delete(either.place.quiet, container).require()


def test_ending_the_process_while_it_is_imported_is_answered(
    either: Either, cni_pod: Netns
) -> None:
    either.site.install("leaving", "import os\nos._exit(0)\n")
    if either.daemon:
        either.place.daemon.spawn(PYTHONPATH=str(either.site.folder))
        process = either.place.daemon.process
        assert process is not None
        eventually(lambda: process.poll() is not None)
        either.place.daemon.process = None
        said = "the template process ended in the import of plugin 'leaving'"
        assert said in either.place.daemon.stderr
        return
    answer = either.multus.add(either.place.quiet, Container(cni_pod.path))
    refused(answer, 999, "the import of plugin 'leaving', ended the process by os._exit")


@pytest.mark.parametrize("at", ["hook", "add", "observer"])
def test_a_process_that_a_plugin_forks_does_not_answer(
    either: Either, cni_pod: Netns, at: str
) -> None:
    """It returns from the plugin's code too; two answers would be no JSON for the runtime."""
    either.start()
    conf, container = either.place.conf(deed="twin", at=at), Container(cni_pod.path)
    either.multus.add(conf, container).require()
    either.place.calm()
    either.multus.delete(conf, container).require()
    assert cni_pod.links() == {}
