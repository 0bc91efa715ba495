"""The software bill of materials: what ``multus[node]`` installs, as a CycloneDX document."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.release.version import Wrong

#: What is linked into the shim; the compiler brings it along.
_MUSL = {
    "type": "library",
    "bom-ref": "musl",
    "name": "musl",
    "description": "The C library, linked statically into multus-shim",
    "licenses": [{"license": {"id": "MIT"}}],
    "externalReferences": [{"type": "website", "url": "https://musl.libc.org"}],
}


def write(environment: Path, version: str, into: Path) -> None:
    """Write what is installed in *environment* to *into*; raises unless it fits CycloneDX' schema.

    pip and setuptools, which a virtual environment has from its making, must be uninstalled.
    """
    options = ["--output-reproducible", "--of", "JSON", "--spec-version", "1.6", "-o", str(into)]
    command = [sys.executable, "-m", "cyclonedx_py", "environment", *options]
    done = subprocess.run(
        [*command, str(environment / "bin" / "python")], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Wrong(f"no SBOM:\n{done.stderr}")
    text = json.dumps(completed(json.loads(into.read_text()), version), indent=1, sort_keys=True)
    _validate(text)
    into.write_text(f"{text}\n")


def completed(document: dict[str, Any], version: str) -> dict[str, Any]:
    """*document* with what it is about, and what no metadata of Python names."""
    about = next(each for each in document["components"] if each["name"] == "multus")
    others = [each for each in document["components"] if each is not about]
    needs = {each["ref"]: each for each in document["dependencies"]}
    # multus requires its plugins by extras, which metadata of dependencies does not follow.
    everything = sorted(each["bom-ref"] for each in [*others, _MUSL])
    needs[about["bom-ref"]] = {"ref": about["bom-ref"], "dependsOn": everything}
    needs[_MUSL["bom-ref"]] = {"ref": _MUSL["bom-ref"]}
    about = {**about, "type": "application", "version": version}
    return {
        **document,
        "metadata": {**document["metadata"], "component": about},
        "components": [*others, _MUSL],
        "dependencies": [needs[ref] for ref in sorted(needs)],
    }


def _validate(text: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise Wrong(f"the SBOM does not fit CycloneDX' schema: {error}")
