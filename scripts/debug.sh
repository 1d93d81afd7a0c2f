#!/bin/sh
# debug.sh [PROGRAM args...]: boots with gdb's stub waiting; knarr prints the gdb command. Without a program, busybox.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- /bin/busybox sh
exec "${BUILD:-build}/knarr" run --gdb --accel tcg -v --kernel-arg aslr=off "$@"
