"""Compiles the C shim while the distribution is built.

Without a C compiler the shim is left out, and the wheel is for every platform; everything works
without it, but slower.  With musl-gcc the program does not depend on the host's C library; without
it, it is linked statically if possible, else dynamically.  ``CC`` names another compiler.

``MULTUS_SHIM_PLATFORM`` is for wheels that an index takes, which serve other machines: the platform
for the wheel's name, such as ``musllinux_1_1_aarch64``.  The shim is linked statically then, or the
build fails.  ``any`` leaves it out.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from distutils.command.build_scripts import build_scripts
from typing import Any

from setuptools.command.bdist_wheel import bdist_wheel

SOURCE = os.path.join("shim", "multus-shim.c")
PROGRAM = "multus-shim"
_FLAGS = ("-Os", "-s", "-Wall", "-Wextra")
_PLATFORM = "MULTUS_SHIM_PLATFORM"
_PURE = "any"


def compile_shim(source: str, program: str) -> bool:
    """Compile *source* to *program*, static if possible; returns whether that worked."""
    return any(
        subprocess.run([*command, *_FLAGS, "-o", program, source], check=False).returncode == 0
        for command in _compilers()
    )


def _compilers() -> Iterator[list[str]]:
    """The commands to try; none where the shim is to be left out."""
    platform = os.environ.get(_PLATFORM, "")
    if platform == _PURE:
        return
    chosen = os.environ.get("CC")
    compiler = chosen or shutil.which("cc") or shutil.which("gcc")
    if shutil.which("musl-gcc") and not chosen:
        yield ["musl-gcc", "-static"]
    if compiler:
        yield [*shlex.split(compiler), "-static"]
        if not platform:
            yield shlex.split(compiler)


class BuildShim(build_scripts):
    """Compiles the shim into the folder from which setuptools takes scripts."""

    def run(self) -> None:
        self.mkpath(self.build_dir)
        program = os.path.join(self.build_dir, PROGRAM)
        if compile_shim(SOURCE, program):
            return
        platform = os.environ.get(_PLATFORM, _PURE)
        if platform != _PURE:
            raise SystemExit(f"no compiler links {PROGRAM} statically, for a wheel of {platform}")
        self.warn(f"no C compiler: {PROGRAM} is left out")


class ShimWheel(bdist_wheel):
    """A wheel for this platform and every Python 3, if it contains the shim."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = next(_compilers(), None) is None

    def get_tag(self) -> tuple[Any, ...]:
        _python, _abi, platform = super().get_tag()
        return "py3", "none", os.environ.get(_PLATFORM) or platform
