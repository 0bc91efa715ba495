#!/bin/sh
# Builds the image's virtual environment, with Multus, its plugins and the C shim:
#
#     build.sh SOURCE TARGET
#
# TARGET is its path in the image: programs contain the full path of their interpreter.
set -eu
source=$1 target=$2
: "${PYTHON:=python3}"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

"$PYTHON" -m venv "$target"
"$target/bin/pip" install -q 'setuptools>=77'

# From a copy, so that files of an older build do not get into the wheels.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar -C "$source" --exclude=.git --exclude=build --exclude='*.egg-info' --exclude='.venv*' \
    --exclude=.tox --exclude=__pycache__ -cf - . | tar -C "$copy" -xf -
set -- "$copy[kube,certificate,netlink,daemon,cli]"
for plugin in "$copy"/plugins/*/setup.cfg; do
    set -- "$@" "$(dirname "$plugin")"
done
"$target/bin/pip" install -q --no-build-isolation "$@"

# The node's runtime starts this program, and the node may have no Python.
[ -x "$target/bin/multus-shim" ] || { echo "build.sh: no C compiler: cannot build the shim" >&2; exit 1; }

# Compile now: the running container's file system is read-only.
rm -rf "$target"/lib/python3*/site-packages/multus/testing
"$target/bin/pip" uninstall -q -y setuptools pip
"$target/bin/python" -m compileall -q "$target"/lib
"$target/bin/multus" plugins
