#!/bin/sh
# inner.sh FOLDER PROCESSOR NAME: process 1 of the namespace in which a machine's processes are.
# From the environment: $KERNEL, $MEMORY, and $DISKS, the arguments that name the machine's disks.
folder=$1 name=$1/$3
tools=$(dirname "$0")
mkfifo "$name.in" "$name.acknowledged"
exec 5<&0 6>&1 </dev/null >>"$name.console" 2>&1
# A machine that has lost who asked for it ends.
(
    exec 6>&-
    "$INTERPRETER" "$tools/feed.py" "$name" <&5
    sleep 10
    kill 1
) &
exec 5<&-
exec taskset -c "$2" "$KERNEL" mem="$MEMORY" root=/dev/root rootfstype=hostfs rootflags=/ rw quiet \
    lsm=capability init="$folder/init.sh" folder="$folder" machine="$3" \
    uml_dir="$folder" umid="uml-$3" con=null con0=null,fd:1 ssl=null \
    ssl0=fd:7,fd:6 ssl1=null,fd:8 ${DISKS:-} 7<>"$name.in" 8<>"$name.acknowledged"
