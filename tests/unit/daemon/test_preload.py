"""What is imported before workers are forked."""

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
    """A plugin's package, which notes what was imported of it."""
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
    """Such as a script beside a plugin, or what needs a program's own environment."""
    for name in ("a", "z"):
        note(package, name)
    note(package, "m", then)
    module = import_module("multus_its_own")
    preload([module])
    assert {"a", "z"} <= set(module.imported)


def test_what_is_started_and_not_imported_is_left_out(package: Path) -> None:
    note(package, "__main__")
    note(package, "part")
    module = import_module("multus_its_own")
    preload([module])
    assert module.imported == ["part"]


def test_a_plugin_that_is_one_module_is_no_package(package: Path) -> None:
    preload([import_module("multus.daemon.wire")])


@pytest.mark.parametrize("name", ["api", "cni", "engine", "state", "registry", "netlink", "ipam"])
def test_a_call_finds_everything_of_the_core_imported(name: str) -> None:
    folder = Path(multus.__file__).parent
    files = folder.glob(f"{name}/**/*.py")
    parts = [each.relative_to(folder.parent).with_suffix("").parts for each in files]
    # What is read through pyroute2 is for commands and tests, and takes long to import.
    parts = [each for each in parts if "inventory" not in each]
    modules = sorted(".".join(each).removesuffix(".__init__") for each in parts)
    # Plugins that ask Kubernetes import it; a node without one does without it.
    modules = [each for each in modules if not each.startswith("multus.api.kubernetes")]
    assert len(modules) >= 3
    program = (
        "import sys; from multus.daemon.preload import preload; preload([]);"
        "print([each for each in sys.argv[1:] if each not in sys.modules])"
    )
    argv = [sys.executable, "-c", program, *modules]
    done = subprocess.run(argv, capture_output=True, check=True, text=True)
    assert done.stdout == "[]\n"


def test_no_worker_pays_for_what_commands_read_with() -> None:
    program = (
        "import sys; from multus.daemon.preload import preload; preload([]);"
        "print([each for each in ('pyroute2', 'netaddr') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
