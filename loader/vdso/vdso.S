# What returns from a signal handler that was set without SA_RESTORER. The call frame information tells debuggers and
# unwinders that the frame above is the signal's, with the interrupted registers in the ucontext that RSP points at.
#include <asm/unistd.h>

#define GREGS 40 /* of ucontext.uc_mcontext: r8 first */

    .text
    .balign 16
    .cfi_startproc simple
    .cfi_signal_frame
    # The CFA is the interrupted RSP, the 16th register of the context: expression (rsp + GREGS + 15 * 8), dereferenced.
    .cfi_escape 0x0f, 4, 0x77, ((GREGS + 15 * 8) & 0x7f) | 0x80, (GREGS + 15 * 8) >> 7, 0x06
    .macro SAVED dwarf, index
    # Register `dwarf` is saved at rsp + GREGS + index * 8.
    .cfi_escape 0x10, \dwarf, 3, 0x77, ((GREGS + \index * 8) & 0x7f) | 0x80, (GREGS + \index * 8) >> 7
    .endm
    SAVED 8, 0
    SAVED 9, 1
    SAVED 10, 2
    SAVED 11, 3
    SAVED 12, 4
    SAVED 13, 5
    SAVED 14, 6
    SAVED 15, 7
    SAVED 5, 8 /* rdi */
    SAVED 4, 9 /* rsi */
    SAVED 6, 10 /* rbp */
    SAVED 3, 11 /* rbx */
    SAVED 1, 12 /* rdx */
    SAVED 0, 13 /* rax */
    SAVED 2, 14 /* rcx */
    SAVED 7, 15 /* rsp */
    SAVED 16, 16 /* rip */
    nop # unwinders look up the address before the return address
    .globl __vdso_rt_sigreturn
    .type __vdso_rt_sigreturn, @function
__vdso_rt_sigreturn:
    movl $__NR_rt_sigreturn, %eax
    syscall
    ud2
    .cfi_endproc
    .size __vdso_rt_sigreturn, . - __vdso_rt_sigreturn

    .section .note.GNU-stack, "", @progbits
