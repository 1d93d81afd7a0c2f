#!/bin/sh
# What `make run` shows: Debian's busybox, unmodified, in a machine of its own: a short session in its shell.
set -eu
cd "$(dirname "$0")/.."
knarr=${BUILD:-build}/knarr
busybox=$(command -v busybox)

# Each line is shown behind a prompt, then run.
session='
show() { printf "${BOLD}knarr:%s# %s${PLAIN}\n" "$PWD" "$1"; eval "$1"; }
show "uname -a"
show "ls -l /"
show "grep -E \"model name|MHz\" /proc/cpuinfo"
show "head -3 /proc/meminfo"
show "date"
show "mkdir -p /cargo && cd /cargo"
show "echo a knarr carries whatever is put into it > manifest"
show "seq 1 20000 | gzip | tee numbers.gz | sha256sum"
show "ls -l"
show "zcat numbers.gz | awk \"{ sum += \\\$1 } END { print sum }\""
show "cat manifest; wc manifest"
show "cat /proc/\$\$/maps | tail -4"
show "uptime"
'
bold= plain=
[ -t 1 ] && bold='\033[1m' plain='\033[0m'
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$root/bin" "$root/tmp" "$root/root"
cp "$busybox" "$root/bin/busybox"
for applet in sh $("$busybox" --list); do
    [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
done

"$knarr" run -e BOLD="$bold" -e PLAIN="$plain" --root "$root" sh -c "$session" </dev/null
echo
echo "Now you, in a shell inside the machine:"
echo "    $knarr run $busybox sh"
