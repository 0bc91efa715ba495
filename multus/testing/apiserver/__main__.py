"""Runs the stand-in as a separate process."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

from multus.testing.apiserver.access import PROOFS, write
from multus.testing.apiserver.faults import Fault
from multus.testing.apiserver.server import ApiServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="apiserver", description=__doc__)
    parser.add_argument("--directory", required=True, help="where the kubeconfig is written")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--proof", choices=PROOFS, default="token")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--bookmarks", type=float, default=60.0, help="seconds between them")
    parser.add_argument("--objects", nargs="*", default=[], help="YAML or JSON files")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with ApiServer(port=options.port, bookmark_seconds=options.bookmarks) as api:
        for path in options.objects:
            _load(api, path)
        if options.slow:
            api.faults.add(Fault("slow", times=0, seconds=options.slow))
        os.makedirs(options.directory, mode=0o700, exist_ok=True)
        write(options.directory, "ca.crt", api.ca_pem)
        api.write_kubeconfig(options.directory, options.proof)
        sys.stdout.write(f"{api.url}\n")
        sys.stdout.flush()
        ended.wait()
    return 0


def _load(api: ApiServer, path: str) -> None:
    import yaml

    with open(path, encoding="utf-8") as file:
        for wire in yaml.safe_load_all(file):
            for each in (wire or {}).get("items", [wire]) if wire else []:
                api.create(each)


if __name__ == "__main__":
    sys.exit(main())
