"""How the C shim gets beside the other programs: compiled while the distribution is built.

Where there is no C compiler it is left out, and the distribution is for every platform; everything
works without it, only slower.  musl makes the program independent of the host's C library; without
musl-gcc it is linked statically with what is there, else dynamically.
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
    """Compile *source* to *program*, as small and independent as can be; whether it worked."""
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
    """Makes the shim where setuptools looks for scripts."""

    def run(self) -> None:
        self.mkpath(self.build_dir)
        program = os.path.join(self.build_dir, PROGRAM)
        if not compile_shim(SOURCE, program):
            self.warn(f"no C compiler: {PROGRAM} is left out")


class ShimWheel(bdist_wheel):
    """A wheel for this platform and every Python 3 where the shim is in it."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = next(_compilers(), None) is None

    def get_tag(self) -> tuple[Any, ...]:
        _python, _abi, platform = super().get_tag()
        return "py3", "none", platform
