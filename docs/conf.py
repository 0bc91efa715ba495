"""How Sphinx builds the documentation."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from multus import __version__  # noqa: E402  from the folder above

project = "Multus"
author = "the Multus authors"
copyright = "the Multus authors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_static"]
source_suffix = {".md": "markdown"}

autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = f"Multus {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(HERE / "_search.js")
pygments_style = "friendly"
pygments_dark_style = "monokai"
