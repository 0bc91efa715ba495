"""The documentation's own pages, on a desktop and on a phone."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tools.screenshots.studio import DESKTOP, PHONE, Studio

_DOCS = Path(__file__).resolve().parents[3] / "docs"


def take(studio: Studio) -> None:
    """Build the site, and take its first page and the quick start."""
    with tempfile.TemporaryDirectory() as folder:
        site, cache = Path(folder, "html"), Path(folder, "cache")
        argv = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-d", str(cache)]
        subprocess.run([*argv, str(_DOCS), str(site)], check=True)
        for page in ("index", "quickstart"):
            for size in (DESKTOP, PHONE):
                studio.page(f"site-{page}", (site / f"{page}.html").as_uri(), size)
