from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"


def objects(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Objects by kind and name."""
    found = [each for each in yaml.safe_load_all(text) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


@pytest.fixture
def daemonset() -> dict[str, Any]:
    (found,) = yaml.safe_load_all((DEPLOY / "daemonset" / "daemonset.yaml").read_text())
    return dict(found)
