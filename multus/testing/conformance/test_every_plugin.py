"""Tests for plugins of any kind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.network import Delegate, Element, Plugin
from multus.api.request import Request
from multus.api.session import Session
from multus.registry.warnings import warnings_of
from multus.testing.conformance.subject import Sample, Subject

#: Modules that a plugin must import lazily, since a standalone process pays for them in each call.
HEAVY = (
    "asyncio",
    "http.client",
    "importlib.metadata",
    "kubernetes",
    "netaddr",
    "pyroute2",
    "requests",
    "ssl",
    "subprocess",
    "urllib.request",
    "urllib3",
    "yaml",
)

#: The limit for a plugin's import time, as a multiple of the import of argparse.
IMPORT_BUDGET = 6.0

#: In seconds: some kernels count a process's time in ticks, and argparse may take less than one.
_TICK = 0.01

_MEASURE = """
import json, sys, time
def cost(name):
    start = time.process_time()
    __import__(name)
    return time.process_time() - start
import multus.api.hookspecs, multus.engine.pipeline, multus.registry.loading, multus.registry.index
unit = cost("argparse")
before = set(sys.modules)
own = cost(sys.argv[1])
print(json.dumps({"own": own, "unit": unit, "loaded": sorted(set(sys.modules) - before)}))
"""

_WRONG: tuple[Any, ...] = (0, -1, 1.5, True, "", "x", "../..", [], [0], [""], {}, {"a": 0})


def _imported(subject: Subject) -> dict[str, Any]:
    argv = [sys.executable, "-c", _MEASURE, subject.entry.module]
    # Without byte code, the time would be that of the compiler.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environ)
    return dict(json.loads(done.stdout))


def test_it_loads_and_its_hooks_fit_the_specification(subject: Subject) -> None:
    assert [str(each) for each in subject.alone.broken] == []


def test_nothing_of_it_is_probably_a_mistake(subject: Subject) -> None:
    """For example, a hook without @hookimpl is never called."""
    assert [f"{each}: {each.fix}" for each in warnings_of(subject.alone)] == []


def test_no_other_plugin_has_its_name_or_its_keys(subject: Subject) -> None:
    clashes = [each for each in subject.together.clashes if subject.entry in each.entries]
    assert [f"{each}: {each.fix}" for each in clashes] == []


def test_its_distribution_says_which_multus_it_is_for(subject: Subject) -> None:
    from importlib.metadata import requires

    needs = [each.replace(" ", "") for each in requires(subject.entry.distribution) or ()]
    core = [each for each in needs if re.match(r"multus(\[[\w,]+\])?[<>=~(]", each)]
    assert core, "install_requires names no version of multus"
    bounded = "~=" in core[0] or (">=" in core[0] and re.search(r"<\d", core[0]))
    assert bounded, f"{core[0]!r} has no upper bound: hooks may change with the next minor version"


def test_importing_it_loads_nothing_heavy(subject: Subject) -> None:
    loaded = _imported(subject)["loaded"]
    heavy = [name for name in loaded if name in HEAVY]
    assert heavy == [], "import these in the function that needs them"


def test_importing_it_stays_within_the_budget(subject: Subject) -> None:
    costs = [_imported(subject) for _ in range(5)]
    ratio = min(each["own"] / (each["unit"] or _TICK) for each in costs)
    assert ratio <= IMPORT_BUDGET, f"costs {ratio:.1f} times the import of argparse"


def test_importing_it_prints_nothing(subject: Subject) -> None:
    argv = [sys.executable, "-c", f"import {subject.entry.module}"]
    done = subprocess.run(argv, capture_output=True, check=True)
    assert done.stdout == b"", "standard output belongs to CNI"


def test_it_leaves_strangers_alone(
    subject: Subject,
    sample: Sample,
    conf_with: Callable[..., Conf],
    request_: Request,
    session: Session,
) -> None:
    conf, hooks = conf_with(merger="somebody-elses"), subject.alone.hooks
    stranger = Element("nobody-knows-this", "a test", source="somebody-else")
    plugin = Plugin({"type": "nobody-knows-this"})
    delegate = Delegate("stranger", (plugin,), "1.1.0")
    assert hooks.validate(conf) == []
    assert hooks.select(request_, conf, session) == [], "it selects unrequested networks"
    assert hooks.resolve(stranger, request_, conf, session) is None
    assert hooks.runtime_config(delegate, request_, conf, session) == {}
    assert hooks.merge((), request_, conf, session) is None
    assert hooks.health(conf) == []
    if not sample.takes_all:
        assert list(hooks.invokers(plugin, delegate, conf)) == []


@pytest.mark.parametrize("value", _WRONG, ids=repr)
def test_a_wrong_value_of_its_keys_is_a_problem_or_a_cni_error(
    subject: Subject,
    sample: Sample,
    value: Any,
    conf_with: Callable[..., Conf],
    request_: Request,
    session: Session,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hooks = subject.alone.hooks
    for key in subject.entry.reads:
        try:
            conf = conf_with(**{**sample.conf, key: value})
            if not hooks.validate(conf):
                hooks.select(request_, conf, session)
                hooks.health(conf)
        except CNIError as error:
            assert error.number != 999, f"{key} = {value!r}: {error}"
    assert capfd.readouterr().out == "", "standard output belongs to CNI"
