"""``python -m tools.screenshots [NAME...]``: take the pictures of these subjects, or of all."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from tools.screenshots import subjects
from tools.screenshots.studio import Studio

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "_static" / "screens"


def main(wanted: list[str]) -> int:
    """Take them; the exit status."""
    known = [each.name for each in pkgutil.iter_modules(subjects.__path__)]
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        print(f"there is no subject {', '.join(unknown)}: there are {', '.join(known)}")
        return 2
    FOLDER.mkdir(exist_ok=True)
    for name in wanted or known:
        print(f"screenshots: {name}", flush=True)
        importlib.import_module(f"{subjects.__name__}.{name}").take(Studio(FOLDER))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
