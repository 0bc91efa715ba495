from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from built import build, configuration
from repository import ROOT, plugins

pytestmark = pytest.mark.timeout(600)

#: Everything that the image has of its own beside our distributions; a new one is a decision.
LIBRARIES = {
    "_cffi_backend",
    "_yaml",
    "attr",
    "attrs",
    "cffi",
    "cryptography",
    "h11",
    "h2",
    "hpack",
    "hyperframe",
    "markdown_it",
    "mdurl",
    "netaddr",
    "pluggy",
    "prometheus_client",
    "pycparser",
    "pygments",
    "pyroute2",
    "rich",
    "shtab",
    "urllib3",
    "yaml",
}
#: And of Debian.
PACKAGES = {
    "base-files",
    "busybox-static",
    "gcc-14-base",
    "iptables",
    "libbz2-1.0",
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "libip4tc2",
    "libip6tc2",
    "liblzma5",
    "libmnl0",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libnftnl11",
    "libpython3.13-minimal",
    "libpython3.13-stdlib",
    "libssl3t64",
    "libuuid1",
    "libxtables12",
    "libzstd1",
    "media-types",
    "netbase",
    "python3.13",
    "python3.13-minimal",
    "zlib1g",
}
SITE = "usr/local/lib/python3.13/dist-packages"


@pytest.fixture(scope="session")
def config(built_image: Path) -> dict[str, Any]:
    """How a container of the image is started."""
    return dict(configuration(built_image)["config"])


@pytest.fixture
def run(image_root: Path, config: dict[str, Any]) -> Runs:
    return Runs(image_root, config)


class Runs:
    """Runs programs in the image, as its configuration says."""

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        self._root = root
        self._user = config["User"]
        self._environ = dict(each.split("=", 1) for each in config["Env"])

    def __call__(
        self, *argv: str, stdin: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["chroot", f"--userspec={self._user}", str(self._root), *argv],
            env={**self._environ, **environ},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )


def test_it_has_every_plugin_and_no_library_that_is_not_needed(image_root: Path) -> None:
    ours = {path.parent.name.replace("-", "_") for path in ROOT.glob("plugins/*/setup.cfg")}
    names = [path.name for path in (image_root / SITE).iterdir()]
    found = {name.partition(".")[0] for name in names if not name.endswith(".dist-info")}
    assert found == {"multus", *ours, *LIBRARIES}


def test_it_has_no_package_of_debian_that_is_not_needed(image_root: Path) -> None:
    """Scanners read these files: what is missing here is not found to be out of date."""
    folder = image_root / "var/lib/dpkg/status.d"
    assert {path.name for path in folder.iterdir()} == PACKAGES
    assert "Package: libc6\nSource: glibc" in (folder / "libc6").read_text()


def test_it_has_no_tests_no_installer_and_no_kit(image_root: Path) -> None:
    names = {str(path.relative_to(image_root)) for path in image_root.rglob("*")}
    ours = [name for name in names if name.startswith(f"{SITE}/multus")]
    assert [name for name in ours if "/tests/" in name or "/testing" in name] == []
    unwanted = {"pip", "apt-get", "dpkg", "gcc", "bash"}
    programs = {Path(name).name for name in names if "bin/" in name}
    assert programs & unwanted == set()
    assert list((image_root / "var").rglob("*apt*")) == []


def test_nothing_in_it_gives_rights_or_is_another_users(
    built_image: Path, image_root: Path
) -> None:
    found = [path for path in image_root.rglob("*") if not path.is_symlink()]
    assert [path for path in found if path.stat().st_mode & 0o6000] == []
    assert [path for path in found if path.stat().st_uid or path.stat().st_gid] == []
    writable = [path for path in found if path.stat().st_mode & 0o002]
    assert writable == [image_root / "tmp"]


def test_it_is_small(built_image: Path, image_root: Path) -> None:
    size = sum(path.lstat().st_size for path in image_root.rglob("*") if path.is_file())
    assert size < 112 << 20
    assert built_image.stat().st_size < 40 << 20


def test_every_library_that_a_program_needs_is_in_it(image_root: Path, run: Runs) -> None:
    (loader,) = (image_root / "usr/lib64").glob("ld-linux-*")
    needing = [
        f"/{path.relative_to(image_root)}"
        for path in image_root.rglob("*")
        if path.is_file() and not path.is_symlink() and _is_dynamic(path)
    ]
    assert len(needing) > 80
    lines = "".join(run(f"/lib64/{loader.name}", "--list", each).stdout for each in needing)
    assert "not found" not in lines


def _is_dynamic(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4096)
    return start.startswith(b"\x7fELF") and (b".so" in path.name.encode() or b"ld-linux" in start)


def test_the_shim_runs_without_a_c_library(image_root: Path, run: Runs) -> None:
    assert not _is_dynamic(image_root / "usr/local/bin/multus-shim")
    environ = {"CNI_COMMAND": "VERSION", "MULTUS_SOCKET": "/none"}
    done = run("multus-shim", stdin='{"cniVersion": "1.1.0"}', **environ)
    assert '"1.1.0"' in done.stdout


def test_all_plugins_load_and_the_index_is_fresh(run: Runs) -> None:
    done = run("multus", "plugins", "--json", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["broken"] == []
    assert {each["distribution"] for each in report["plugins"]} == plugins()
    # Without the index every distribution would be asked.
    assert "importlib.metadata" not in done.stderr


def test_every_module_is_compiled_once(image_root: Path) -> None:
    modules = {path for folder in (SITE, "usr/lib") for path in (image_root / folder).rglob("*.py")}
    assert len(modules) > 1500
    odd = [
        path
        for path in modules
        if not path.is_symlink()
        and len(list(path.parent.glob(f"__pycache__/{path.stem}.cpython-*.pyc"))) != 1
    ]
    assert odd == []


def test_every_interface_of_iptables_has_its_usual_name(run: Runs) -> None:
    for program in ("iptables-save", "ip6tables-restore"):
        assert "nf_tables" in run(program, "--version").stdout


@pytest.mark.parametrize("command", ["daemon", "install", "uninstall", "doctor", "explain"])
def test_the_commands_of_the_daemonset_and_its_notes_are_there(run: Runs, command: str) -> None:
    done = run("multus", command, "--help")
    assert done.returncode == 0, done.stderr


def test_the_same_files_give_the_same_image(built_image: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    build(again)
    assert again.read_bytes() == built_image.read_bytes()


def test_it_says_what_it_is_and_has_no_rights_by_itself(config: dict[str, Any]) -> None:
    assert config["Entrypoint"] == ["multus"]
    assert config["User"] == "65532:65532"
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == _version()
    assert labels["org.opencontainers.image.created"].endswith("Z")


def _version() -> str:
    from multus import __version__

    return __version__
