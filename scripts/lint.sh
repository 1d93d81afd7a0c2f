#!/bin/sh
# All static checks; fails when one finds something.
set -u
cd "$(dirname "$0")/.."
build=${BUILD:-build}
status=0

echo "  layers"
scripts/layers.sh || status=1

echo "  docs/syscalls.md"
scripts/syscalls.sh | cmp -s - docs/syscalls.md || { echo "docs/syscalls.md is old: make docs"; status=1; }

echo "  cppcheck"
mkdir -p "$build/cppcheck"
check() {
    cppcheck --quiet --std=c11 --language=c --error-exitcode=1 --inline-suppr --suppressions-list=scripts/cppcheck.txt \
        --enable=warning,portability,performance --cppcheck-build-dir="$build/cppcheck" -j 2 -I. "$@" || status=1
}
# The kernel includes headers of the system that cppcheck need not see.
check --platform=unix64 -D__x86_64__ -D__cppcheck__ $(ls -d kernel drivers fs net loader syscall 2>/dev/null)
check --platform=unix64 -D_GNU_SOURCE tools

exit $status
