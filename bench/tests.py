"""Modules of this repository's tests that the benchmark shares with them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

_FOLDER = str(Path(__file__).parents[1] / "tests")


def ours(name: str) -> Any:
    """The module *name* of ``tests``."""
    # Not in PYTHONPATH: the programs that are measured would inherit it.
    if _FOLDER not in sys.path:
        sys.path.append(_FOLDER)
    return importlib.import_module(name)
