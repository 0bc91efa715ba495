"""Modules that are imported before workers are forked."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import multus
from multus.daemon.preload import preload


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin's package that records which of its modules were imported."""
    folder = tmp_path / "multus_its_own"
    folder.mkdir()
    (folder / "__init__.py").write_text("imported = []\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return folder


def note(package: Path, name: str, then: str = "") -> None:
    (package / f"{name}.py").write_text(
        f"from multus_its_own import imported\nimported.append({name!r})\n{then}\n"
    )


@pytest.mark.parametrize(
    "then",
    ["import nowhere_at_all", "raise SystemExit(3)", "raise BaseException", "syntax error"],
)
def test_a_module_that_cannot_be_imported_costs_nothing_else(package: Path, then: str) -> None:
    """For example a script in a plugin's folder, or a module that needs a program's environment."""
    for name in ("a", "z"):
        note(package, name)
    note(package, "m", then)
    module = import_module("multus_its_own")
    preload([module])
    assert {"a", "z"} <= set(module.imported)


def test_a_module_that_runs_as_a_program_is_left_out(package: Path) -> None:
    note(package, "__main__")
    note(package, "part")
    module = import_module("multus_its_own")
    preload([module])
    assert module.imported == ["part"]


def test_a_plugin_that_is_a_single_module_is_accepted(package: Path) -> None:
    preload([import_module("multus.daemon.wire")])


@pytest.mark.parametrize(
    "name", ["api", "cni", "engine", "state", "registry", "netlink", "ipam", "inprocess"]
)
def test_a_call_imports_no_further_module_of_the_core(name: str) -> None:
    folder = Path(multus.__file__).parent
    files = folder.glob(f"{name}/**/*.py")
    parts = [each.relative_to(folder.parent).with_suffix("").parts for each in files]
    # Modules that use pyroute2 are for commands and tests, and take long to import.
    parts = [each for each in parts if "inventory" not in each]
    modules = sorted(".".join(each).removesuffix(".__init__") for each in parts)
    # Only plugins that use Kubernetes import it.
    modules = [each for each in modules if not each.startswith("multus.api.kubernetes")]
    assert len(modules) >= 3
    program = (
        "import sys; from multus.daemon.preload import preload; preload([]);"
        "print([each for each in sys.argv[1:] if each not in sys.modules])"
    )
    argv = [sys.executable, "-c", program, *modules]
    done = subprocess.run(argv, capture_output=True, check=True, text=True)
    assert done.stdout == "[]\n"


def test_workers_do_not_import_the_libraries_of_commands() -> None:
    program = (
        "import sys; from multus.daemon.preload import preload; preload([]);"
        "print([each for each in ('pyroute2', 'netaddr') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
