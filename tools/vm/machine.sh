#!/bin/sh
# machine.sh FOLDER PROCESSOR: a machine on that processor, as if it was a Python interpreter: what it
# reads and writes are standard input and output. It ends with this process, by a signal too.
# What else is asked of an interpreter is in init.sh.
exec unshare --pid --fork --kill-child sh "$(dirname "$0")/inner.sh" "$1" "$2" "machine-$2-$$"
