#!/bin/sh
# syscalls.sh: prints docs/syscalls.md, the list of system calls and whether they are supported, from syscall/table.h.
set -eu
cd "$(dirname "$0")/.."

supported=$(grep -c '^SYSCALL(' syscall/table.h)
all=$(grep -c -E '^(SYSCALL|NOSYS)\(' syscall/table.h)
cat <<END
# System calls

Made by \`make docs\` from \`syscall/table.h\`; do not edit. Knarr supports $supported of the $all system calls that Linux has on
x86-64. The others answer \`ENOSYS\`, and the log says so once by name.

| number | name | supported |
|---:|---|---|
END
sed -n -E 's/^(SYSCALL|NOSYS)\(([0-9]+), ([A-Za-z0-9_]+),.*/\1 \2 \3/p' syscall/table.h |
    awk '{ printf "| %s | `%s` | %s |\n", $2, $3, $1 == "SYSCALL" ? "yes" : "" }'
