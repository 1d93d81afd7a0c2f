#!/bin/sh
# Checks that #includes only go down the layers (docs/conventions.md): for each folder, the folders that its files may
# include from. <...> must be a header of the compiler or of linux-libc-dev.
cd "$(dirname "$0")/.." || exit 1

may_include() {
    case $1 in
    kernel) echo kernel ;;
    drivers) echo drivers kernel fs net ;; # a driver fills in the table that the user of the device declares
    fs | net) echo fs net kernel ;;
    loader) echo loader fs kernel ;;
    syscall) echo syscall loader fs net kernel ;;
    tools) echo tools ;;
    esac
}

wrong=$(
    for folder in kernel drivers fs net loader syscall tools; do
        allowed=$(may_include $folder | sed 's, ,|,g')
        find $folder -name '*.[chS]' 2>/dev/null | xargs -r grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' |
            # The format on the disk is one header for its reader and its writer.
            grep -vE '^tools/erofs/.*"fs/erofs/format\.h"' |
            # What Knarr has is said in one place.
            grep -vE '^tools/check/table\.c:.*"syscall/(table|absent)\.h"' |
            # kernel/main.c starts everything and so may know everything; the trap handlers call the system calls.
            grep -vE '^kernel/(main|init)\.c:|^kernel/x86/(trap\.c|entry\.S):.*"syscall/syscall\.h"' |
            # lwIP is a library under net/, whose headers those above see, too; net/lwip/ is what it finds its surroundings in.
            grep -vE '^(net|fs|syscall)/.*"(lwip|netif)/[^"]*\.h"' | grep -vE '^net/lwip.*"arch/[^"]*\.h"' |
            grep -vE "\"($allowed)/[^\"]*\""
        [ $folder = tools ] || find $folder -name '*.[chS]' 2>/dev/null |
            xargs -r grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]+<' |
            grep -vE '<(linux/|asm/|asm-generic/|std(int|bool|def|arg|atomic)\.h|cpuid\.h|limits\.h|immintrin\.h)' 
    done
    # Only kernel/x86/ knows the processor.
    find $(ls -d kernel drivers fs net loader syscall 2>/dev/null) -name '*.[ch]' -not -path 'kernel/x86/*' -not -path 'loader/vdso/*' |
        xargs -r grep -nE '\b(__)?asm(__)?[[:space:]]+(volatile|__volatile__)' /dev/null
)
[ -z "$wrong" ] && exit 0
echo "includes that go up, or processor code outside kernel/x86:" >&2
echo "$wrong" >&2
exit 1
