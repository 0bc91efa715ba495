# The system packages that ./dev needs, under Debian's names; sourced by ./dev.
# shellcheck shell=sh disable=SC2034

# What the demo and the benchmark run.
RUN_PACKAGES="iproute2 containernetworking-plugins"
# What tests in a namespace of an ordinary user run too.
TEST_PACKAGES="$RUN_PACKAGES nftables iptables procps"
# What root's tests run beside those: container runtimes, a compiler for the shim, shells that read
# completions, the programs that read what is written for them (man, kubectl, systemd-analyze), a
# machine with a disk, whose power is cut, a browser, and what the image is made with.
ROOT_TEST_PACKAGES="podman runc containerd busybox-static gcc libc6-dev musl-tools
    fish zsh man-db kubernetes-client systemd user-mode-linux kmod e2fsprogs
    chromium chromium-driver mmdebstrap debian-archive-keyring"
# What ./dev vm runs: a kernel, and modprobe for its modules.
VM_PACKAGES="$TEST_PACKAGES user-mode-linux kmod"

have() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }

# The packages, of those named, whose files are not there, however they would have got there.
absent() {
    for package in "$@"; do
        case $package in
        python3-venv) "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ;;
        iproute2) have ip ;;
        nftables) have nft ;;
        procps) have sysctl ;;
        containernetworking-plugins) [ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ] ;;
        busybox-static) [ -x /bin/busybox ] ;;
        libc6-dev) [ -e /usr/include/stdlib.h ] ;;
        musl-tools) have musl-gcc ;;
        man-db) have man ;;
        kubernetes-client) have kubectl ;;
        user-mode-linux) have linux.uml ;;
        kmod) have modprobe ;;
        e2fsprogs) have mkfs.ext4 ;;
        chromium-driver) have chromedriver ;;
        systemd) have systemd-analyze ;;
        debian-archive-keyring) [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] ;;
        ubuntu-keyring) [ -e /usr/share/keyrings/ubuntu-archive-keyring.gpg ] ;;
        *) have "$package" ;;
        esac || printf ' %s' "$package"
    done
}

# apt-get, which adds and never removes.
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 --no-remove \
        --no-install-recommends "$@" >/dev/null 2>&1
}

# Installs what is absent where it may, else says the one command that does.
packages() {
    lacking=$(absent "$@")
    [ -n "$lacking" ] || return 0
    if root && [ -e /etc/debian_version ]; then
        say "installing$lacking"
        # shellcheck disable=SC2086
        apt install -y $lacking || { apt update && apt install -y $lacking; } ||
            # One that this release has not must not keep the others away.
            for package in $lacking; do
                apt install -y "$package" || say "apt-get could not install $package"
            done
        lacking=$(absent "$@")
        [ -n "$lacking" ] || return 0
    fi
    say "missing:$lacking. Run: sudo apt-get install$lacking"
    return 1
}
