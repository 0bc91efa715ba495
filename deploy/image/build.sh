#!/bin/sh
# Builds the image's own part, a virtual environment with Multus, its plugins and the C shim:
#
#     build.sh SOURCE TARGET
#
# TARGET is where it is going to be run from: programs know their interpreter by its full path.
set -eu
source=$1 target=$2
: "${PYTHON:=python3}"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

"$PYTHON" -m venv "$target"
"$target/bin/pip" install -q 'setuptools>=77'

# From a copy: what an older build left behind must not get into the wheels.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar -C "$source" --exclude=.git --exclude=build --exclude='*.egg-info' --exclude='.venv*' \
    --exclude=.tox --exclude=__pycache__ -cf - . | tar -C "$copy" -xf -
set -- "$copy[kube,netlink,daemon,cli]"
for plugin in "$copy"/plugins/*/setup.cfg; do
    set -- "$@" "$(dirname "$plugin")"
done
"$target/bin/pip" install -q --no-build-isolation "$@"

# The runtime on the node starts this, with no Python there.
[ -x "$target/bin/multus-shim" ] || { echo "build.sh: no C compiler, and so no shim" >&2; exit 1; }

# Nothing is installed, compiled or looked for once it runs: its file system is read-only.
rm -rf "$target"/lib/python3*/site-packages/multus/testing
"$target/bin/pip" uninstall -q -y setuptools pip
"$target/bin/python" -m compileall -q "$target"/lib
"$target/bin/multus" plugins
