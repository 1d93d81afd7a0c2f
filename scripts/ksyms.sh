#!/bin/sh
# Turns `nm --numeric-sort` of the kernel (stdin) into the table that kernel/ksyms.c searches (assembly, stdout):
# a count, the ascending offsets of all functions from the first one as u32, then their names in the same order,
# each ended by a NUL. It lies in .rodata, behind all code. With the argument `data` variables are in it, too.
exec awk -v data="${1:-}" '
    BEGIN { n = 0 }
    # Functions of the linked kernel only: not those of the low boot stub.
    (tolower($2) == "t" || data && tolower($2) ~ /[db]/) && $1 ~ /^ffffffff/ && $3 !~ /^\.L/ && $1 != last { addr[n] = $1; name[n++] = $3; last = $1 }
    END {
        print "    .section .rodata.ksyms, \"a\""
        print "    .balign 8"
        print "    .global ksyms_start, ksyms_end"
        print "ksyms_start:"
        printf "    .quad 0x%s\n    .long %d\n", n ? addr[0] : "0", n
        for (i = 0; i < n; i++)
            printf "    .long 0x%s - 0x%s\n", addr[i], addr[0]
        for (i = 0; i < n; i++)
            printf "    .asciz \"%s\"\n", name[i]
        print "ksyms_end:"
        print "    .section .note.GNU-stack, \"\", @progbits"
    }'
