"""Compiles the C shim while the distribution is built.

Without a C compiler the shim is left out, and the wheel is for every platform; everything works
without it, but slower.  With musl-gcc the program does not depend on the host's C library; without
it, it is linked statically if possible, else dynamically.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from distutils.command.build_scripts import build_scripts
from typing import Any

from setuptools.command.bdist_wheel import bdist_wheel

SOURCE = os.path.join("shim", "multus-shim.c")
PROGRAM = "multus-shim"
_FLAGS = ("-Os", "-s", "-Wall", "-Wextra")


def compile_shim(source: str, program: str) -> bool:
    """Compile *source* to *program*, static if possible; returns whether that worked."""
    return any(
        subprocess.run([*command, *_FLAGS, "-o", program, source], check=False).returncode == 0
        for command in _compilers()
    )


def _compilers() -> Iterator[list[str]]:
    if shutil.which("musl-gcc"):
        yield ["musl-gcc", "-static"]
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler:
        yield [*compiler.split(), "-static"]
        yield compiler.split()


class BuildShim(build_scripts):
    """Compiles the shim into the folder from which setuptools takes scripts."""

    def run(self) -> None:
        self.mkpath(self.build_dir)
        program = os.path.join(self.build_dir, PROGRAM)
        if not compile_shim(SOURCE, program):
            self.warn(f"no C compiler: {PROGRAM} is left out")


class ShimWheel(bdist_wheel):
    """A wheel for this platform and every Python 3, if it contains the shim."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = next(_compilers(), None) is None

    def get_tag(self) -> tuple[Any, ...]:
        _python, _abi, platform = super().get_tag()
        return "py3", "none", platform
