#!/bin/sh
# Process 1 of a machine. From the kernel's command line: $folder, this machine's folder below, and
# $machine, its name. From the file `environment` there: the variables of who started it, $CHECKOUT,
# $INTERPRETER and $SITE_PACKAGES, where that imports from.
. "$folder/environment"
modules=/usr/lib/uml/modules
mount -t proc proc /proc
mount -t tmpfs -o mode=755,size=100% machine /mnt
mkdir /mnt/upper /mnt/work /mnt/root /mnt/lib
ln -s $modules /mnt/lib/modules
modprobe -d /mnt overlay
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work machine /mnt/root || exit
cd /mnt/root || exit
mount -t proc proc proc
mount -t sysfs sys sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm mnt
mount -t devpts -o ptmxmode=666 pts dev/pts
mount -t tmpfs shm dev/shm
mount -t tmpfs -o mode=755 run run
# The kernel loads its modules by this: they are not where modprobe looks for them.
mkdir -p run/kernel/lib
ln -s $modules run/kernel/lib/modules
printf '#!/bin/sh\nexec modprobe -d /run/kernel "$@"\n' >run/kernel/modprobe
chmod +x run/kernel/modprobe
pivot_root . mnt
umount -l mnt
echo /run/kernel/modprobe >/proc/sys/kernel/modprobe
modprobe -d /run/kernel ipv6 # which every node has
hostname vm
ip link set lo up
# Debian's has no nf_tables for IP: the same commands have an older way.
nft add table ip probe 2>/dev/null || {
    legacy=$(command -v iptables-legacy) && cd "${legacy%/*}" && for each in iptables ip6tables; do
        for program in "" -save -restore; do
            ln -sf "$each-legacy$program" "$each$program"
        done
    done
}
# An editable install finds the core by code that every Python process runs at its start, for longer
# than all else. A link needs none.
rm -f "$SITE_PACKAGES"/__editable__.multus-*.pth
ln -s "$CHECKOUT/multus" "$SITE_PACKAGES/multus"
# The serial lines: one is standard input and output of the interpreter, the other acknowledges.
exec 3<>/dev/ttyS0 4<>/dev/ttyS1
stty raw -echo <&3
stty raw -echo <&4
# The folder below is the one place that is written through.
mkdir /run/below
mount -t hostfs -o "$folder" below /run/below
: >"/run/below/$machine.up"
umount /run/below
cd "$CHECKOUT" || exit
"$INTERPRETER" -IS tools/vm/relay.py <&3 4>&4 |
    "$INTERPRETER" -u -c 'import sys; exec(eval(sys.stdin.readline()))' >&3 3>&- 4>&-
echo o >/proc/sysrq-trigger
sleep 60
