# Shared by the commands beside this folder; sourced, not run.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Packages of Debian and Ubuntu, each with a command that tells whether it is there.
packages() {
    cat <<'LIST'
iproute2 ip
nftables nft
dnsmasq-base dnsmasq
iptables iptables-legacy
ebtables ebtables-legacy
busybox-static busybox
shellcheck shellcheck
strace strace
time /usr/bin/time
procps sysctl
jq jq
kmod modprobe
gcc gcc
libc6-dev /usr/include/stdlib.h
containernetworking-plugins /usr/lib/cni/bridge
user-mode-linux linux.uml
LIST
}

# The same for DHCP servers and relays whose packages would start them, now or when the machine boots: these are unpacked.
servers() {
    cat <<'LIST'
kea-dhcp4-server kea-dhcp4
isc-dhcp-server dhcpd
isc-dhcp-relay dhcrelay
udhcpd udhcpd
LIST
}

# without_arguments "$@": prints the command's first comment for --help, and refuses every other word.
without_arguments() {
    [ $# = 0 ] && return
    case $1 in
        --help | -h) sed -n '2,/^[^#]/s/^# //p' "$0" && exit ;;
        *) echo "${0##*/}: unknown argument: $1" >&2 && exit 2 ;;
    esac
}

# as_root WHY: ends the command where it is not run as root.
as_root() { [ "$(id -u)" = 0 ] || { echo "run as root: $1" >&2; exit 1; }; }

present() {
    case $1 in
        /*) [ -e "$1" ] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# install_packages [PACKAGE...]: installs what is missing of all, or of these. What a distribution does not have
# (user-mode-linux outside amd64) stays missing; the tests that need it say so.
install_packages() {
    local package command missing=()
    while read -r package command; do
        [[ $# = 0 || " $* " = *" $package "* ]] || continue
        present "$command" || missing+=("$package")
    done < <(packages)
    [ ${#missing[@]} -eq 0 ] && return
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null
    for package in "${missing[@]}"; do
        apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 || echo "not available: $package"
    done
}

# unpacked NAME PACKAGE...: prints the folder that has these packages and whatever they need beyond what this machine has.
# They are unpacked below the build's folder, not installed: no kernel, no service and no second container runtime
# comes to the machine. Fails where the distribution does not have them.
unpacked() (
    name=$1
    shift
    folder=$(realpath -m "${CARGO_TARGET_DIR:-$here/target}/packages")
    mkdir -p "$folder"
    exec 9>"$folder/lock"
    flock 9
    if [ ! -d "$folder/$name" ]; then
        command -v apt-get >/dev/null || return
        new=$(mktemp -d "$folder/new.XXXXXX")
        trap 'rm -rf "$new"' EXIT
        mkdir -p "$new/archives/partial" "$new/root"
        fetch() {
            apt-get install -y -qq --no-install-recommends --reinstall --download-only -o APT::Sandbox::User=root \
                -o DPkg::Lock::Timeout=120 -o Dir::Cache::archives="$new/archives" "$@" >/dev/null 2>&1
        }
        fetch "$@" || { apt-get update -qq >/dev/null 2>&1 && fetch "$@"; } || return
        for archive in "$new"/archives/*.deb; do dpkg-deb -x "$archive" "$new/root" || return; done
        mv "$new/root" "$folder/$name"
    fi
    echo "$folder/$name"
)

# provide_servers FOLDER: puts this new folder on the PATH, with commands that run the servers that the machine lacks.
provide_servers() {
    local package command root
    mkdir "$1"
    PATH=$PATH:$1
    while read -r package command; do
        present "$command" && continue
        echo "unpacking $package"
        if root=$(unpacked "$package" "$package" </dev/null) && [ -e "$root/usr/sbin/$command" ]; then
            printf '#!/bin/bash\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$(libraries "$root")" "$root/usr/sbin/$command" >"$1/$command"
            chmod +x "$1/$command"
        else
            echo "not available: $package"
        fi
    done < <(servers)
}

# A busybox that runs without the machine's libraries; the one that is installed may be another.
static_busybox() {
    local root
    root=$(unpacked busybox busybox-static) && find "$root" -path "*bin/busybox" -type f
}

# Where the loader finds the libraries of an unpacked folder.
libraries() { echo "$1/usr/lib/$(uname -m)-linux-gnu:$1/lib/$(uname -m)-linux-gnu"; }

# ---- A node, a pod on it and the machine in the pod, each a network namespace.

# forwards NAMESPACE PORT: whether a bridge port forwards.
forwards() { ip -n "$1" -d -j link show "$2" | grep -q '"state":"forwarding"'; }

# traces NODE POD: links, VLANs and rules of both, without what the kernel counts.
traces() {
    {
        ip -n "$1" -o link
        ip netns exec "$1" bridge vlan
        ip netns exec "$1" nft list ruleset
        ip -n "$2" -o link
    } | sed 's/ state [A-Z]*//; s/NO-CARRIER,//; s/,LOWER_UP//'
}

# vm_lan MAC [JSON]: the config of conf-examples/vm-lan.yaml with what Multus adds, the MAC that the machine asks for, and
# with these keys.
vm_lan() {
    sed '1,/config: |/d' "$here/conf-examples/vm-lan.yaml" |
        jq -c --arg mac "$1" --argjson more "${2-"{}"}" '. + {cniVersion: "1.1.0", runtimeConfig: {mac: $mac}} + $more'
}

# wire_machine POD MAC: KubeVirt's bridge binding of the interface podlan and the machine's tap taplan. A kernel without
# dummies: a bridge without ports is as idle.
wire_machine() {
    local mtu placeholder=dummy
    mtu=$(ip -n "$1" -j link show podlan | jq '.[0].mtu')
    ip -n "$1" link add probe type dummy 2>/dev/null && ip -n "$1" link del probe || placeholder=bridge
    ip -n "$1" -batch - <<LINES
link add k6t-lan type bridge
link set k6t-lan up
link set podlan name lan-nic
link set lan-nic address 02:aa:aa:aa:aa:aa
link set lan-nic master k6t-lan
link set lan-nic type bridge_slave learning off
link set lan-nic up
link set taplan mtu $mtu
link set taplan master k6t-lan
link set taplan up
link add podlan address $2 mtu $mtu type $placeholder
LINES
}

# The musl target gives a static executable without a C toolchain; where it cannot be had, glibc is linked in.
build_target() {
    local target
    target=$(uname -m)-unknown-linux-musl
    if rustup target list --installed 2>/dev/null | grep -qx "$target" ||
        rustup target add "$target" >/dev/null 2>&1; then
        echo "$target"
    else
        echo "$(uname -m)-unknown-linux-gnu"
    fi
}

# The machine's architecture as images call it.
architecture() { uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/'; }

# The commit that `--version` names; empty where the sources are no checkout.
BRIDGE_DHCP_COMMIT=$(git -C "$here" describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null || true)
export BRIDGE_DHCP_COMMIT

# Builds the static release binary and prints its path.
build_binary() {
    local target
    target=$(build_target)
    case $target in
        *-gnu) export RUSTFLAGS="-C target-feature=+crt-static" ;;
    esac
    cargo build --quiet --release --locked --manifest-path "$here/Cargo.toml" --target "$target" >&2 || return
    echo "${CARGO_TARGET_DIR:-$here/target}/$target/release/bridge-dhcp"
}
