# The doors between the application and the kernel: system calls, exceptions, interrupts; and the switch between threads.
#
# The application runs in ring 3, so CPL says who was interrupted: also when the application has jumped to an address of
# the kernel, and when the kernel jumped astray into the lower half, which is a panic. From the application, GS and
# the stack are the application's: swapgs, then the thread's kernel stack. All gates use IST stacks (the application's
# stack below RSP is never touched); the code here moves the frame at once to the kernel stack in use, so that an IST
# stack is busy only with interrupts off. NMI, #DF and #MC may hit even between two instructions of this file; they stay
# on stacks of their own, on top of which their CPU's struct cpu is found, and assume nothing about GS.
#include "kernel/x86/vectors.h"

#define MSR_GS_BASE 0xc0000101
#define SYSCALL_MAX 462 /* checked in trap.c */
#define SYSCALL_ENTRY_SIZE 24
#define WORK_ENTRY 4

    .section .text.entry, "ax", @progbits

    .macro SAVE_CALLEE_SAVED offset=0
    movq %rbx, FRAME_RBX+\offset(%rsp)
    movq %rbp, FRAME_RBP+\offset(%rsp)
    movq %r12, FRAME_R12+\offset(%rsp)
    movq %r13, FRAME_R13+\offset(%rsp)
    movq %r14, FRAME_R14+\offset(%rsp)
    movq %r15, FRAME_R15+\offset(%rsp)
    .endm

# Pushes all general registers, under a frame's upper part.
    .macro PUSH_REGISTERS
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    .endm

    .macro POP_REGISTERS
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rax
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    addq $16, %rsp # vector, error code
    .endm

# --- System calls. The fast path: no callee-saved registers, one look at thread.work on each side. ---
    .balign 64
    .global syscall_entry
syscall_entry:
    swapgs
    movq %rsp, %gs:CPU_USER_RSP
    movq %gs:CPU_KERNEL_STACK, %rsp
    pushq $USER_SS
    pushq %gs:CPU_USER_RSP
    pushq %r11 # RFLAGS
    pushq $USER_CS
    pushq %rcx # RIP
    movl %eax, %eax # the number is an int, as in Linux: the upper half does not count
    pushq %rax # error_code: the number
    pushq $-1  # vector: a system call
    sti
    pushq %rdi
    pushq %rsi
    pushq %rdx
    subq $16, %rsp # RCX and RAX: filled in when the frame is completed
    pushq %r8
    pushq %r9
    pushq %r10
    subq $FRAME_R10, %rsp # R11 and the callee-saved likewise
    movq %r10, %rcx
    movq %gs:CPU_CURRENT, %r11
    testb $WORK_ENTRY, THREAD_WORK(%r11)
    jnz syscall_with_work
    cmpq $SYSCALL_MAX, %rax
    jae syscall_unknown
    call *syscall_fast(, %rax, 8)
syscall_done:
    cli
    movq %gs:CPU_CURRENT, %r11
    cmpl $0, THREAD_WORK(%r11)
    jne syscall_exit_with_work
    movq FRAME_R10(%rsp), %r10
    movq FRAME_R9(%rsp), %r9
    movq FRAME_R8(%rsp), %r8
    movq FRAME_RDX(%rsp), %rdx
    movq FRAME_RSI(%rsp), %rsi
    movq FRAME_RDI(%rsp), %rdi
    movq FRAME_RIP(%rsp), %rcx # SYSCALL gave us this RIP: canonical, since the last page of the lower half is never mapped
    movq FRAME_RFLAGS(%rsp), %r11
    movq FRAME_RSP(%rsp), %rsp
    swapgs
    sysretq

syscall_unknown:
    call sys_unsupported # says so once
    jmp syscall_done

# Completes the frame; the callee-saved registers still hold the application's values.
    .macro COMPLETE_FRAME offset=0
    SAVE_CALLEE_SAVED \offset
    movq FRAME_RIP+\offset(%rsp), %r11
    movq %r11, FRAME_RCX+\offset(%rsp)
    movq FRAME_RFLAGS+\offset(%rsp), %r11
    movq %r11, FRAME_R11+\offset(%rsp)
    .endm

syscall_with_work:
    COMPLETE_FRAME
    movq %rsp, %rdi
    call syscall_slow
    movq %rax, FRAME_RAX(%rsp)
    jmp return_to_user

# In the place of a function in syscall_fast[]: calls that look at the whole frame, or change it.
    .global syscall_full_frame
syscall_full_frame:
    addq $8, %rsp # never returns to the fast path
    COMPLETE_FRAME
    leaq (%rax, %rax, 2), %r11
    call *syscall_table + 8(, %r11, 8)
    movq %rax, FRAME_RAX(%rsp)
    jmp return_to_user

syscall_exit_with_work:
    movq %rax, FRAME_RAX(%rsp)
    COMPLETE_FRAME
    # on to return_to_user

# A complete frame at the top of the thread's kernel stack.
return_to_user:
    cli
    movq %gs:CPU_CURRENT, %r11
    cmpl $0, THREAD_WORK(%r11)
    je 1f
    movq %rsp, %rdi
    call exit_to_user
1:  movq FRAME_RIP(%rsp), %r11
    shrq $47, %r11
    jnz 2f
    movq $USER_CS, FRAME_CS(%rsp)
    movq $USER_SS, FRAME_SS(%rsp)
    POP_REGISTERS
    swapgs
    iretq # cannot fault: RIP is in the lower half, the selectors are right
2:  movq %rsp, %rdi
    call exit_bad_rip # becomes a signal
    jmp return_to_user

# --- Exceptions and interrupts ---
# From the application: off the IST stack to the thread's own. RDI is left in CPU_USER_RSP.
    .macro MOVE_USER_FRAME
    swapgs
    movq %rdi, %gs:CPU_USER_RSP
    movq %rsp, %rdi
    movq %gs:CPU_KERNEL_STACK, %rsp
    pushq 48(%rdi)
    pushq 40(%rdi)
    pushq 32(%rdi)
    pushq 24(%rdi)
    pushq 16(%rdi)
    pushq 8(%rdi)
    pushq (%rdi)
    .endm

    .macro STUB vector
    .balign 16
    .if (\vector == 8) || ((\vector >= 10) && (\vector <= 14)) || (\vector == 17) || (\vector == 21) || (\vector == 29) || (\vector == 30)
    .else
    pushq $0
    .endif
    pushq $\vector
    .if (\vector == 2) || (\vector == 8) || (\vector == 18)
    jmp trap_entry_paranoid
    .elseif \vector == VECTOR_PF
    jmp page_fault_entry
    .else
    jmp trap_entry
    .endif
    .endm

    .balign 16
    .global trap_stubs
trap_stubs: # 16 bytes each
    .set vector, 0
    .rept VECTOR_COUNT
    STUB vector
    .set vector, vector + 1
    .endr

# The application's page faults: as a system call, without the callee-saved registers unless there is work to do.
    .balign 16
page_fault_entry:
    cld
    .global page_fault_clac
page_fault_clac:
    .byte 0x0f, 0x1f, 0x00
    testb $3, 24(%rsp)
    jz trap_entry_kernel
    MOVE_USER_FRAME
    pushq %gs:CPU_USER_RSP
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    subq $FRAME_R11, %rsp
    movq %rsp, %rdi
    call trap_page_fault
    cli
    movq %gs:CPU_CURRENT, %r11
    cmpl $0, THREAD_WORK(%r11)
    jne 1f
    addq $FRAME_R11, %rsp
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rax
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    addq $16, %rsp
    swapgs
    iretq
1:  SAVE_CALLEE_SAVED
    jmp return_to_user

    .balign 16
trap_entry:
    # vector, error code, RIP, CS, RFLAGS, RSP, SS
    cld
    .global trap_entry_clac
trap_entry_clac:
    .byte 0x0f, 0x1f, 0x00 # clac, when there is SMAP (cpu.c)
    testb $3, 24(%rsp) # ring 3 is the application also when it has jumped to an address of the kernel
    jz trap_entry_kernel
    MOVE_USER_FRAME
    movq %gs:CPU_USER_RSP, %rdi
    PUSH_REGISTERS
    movq %rsp, %rdi
    xorl %ebp, %ebp
    call trap_from_user
    jmp return_to_user

trap_entry_kernel:
    pushq %rdi
    pushq %rsi
    movq 32(%rsp), %rdi
    subq $trap_move_start, %rdi
    cmpq $(trap_move_end - trap_move_start), %rdi
    jb trap_stack_overflow
    movq %rsp, %rsi
    movq 56(%rsi), %rsp
    andq $-16, %rsp
trap_move_start: # a fault in here means that the interrupted stack is full
    pushq 64(%rsi)
    pushq 56(%rsi)
    pushq 48(%rsi)
    pushq 40(%rsi)
    pushq 32(%rsi)
    pushq 24(%rsi)
    pushq 16(%rsi)
    movq 8(%rsi), %rdi
    movq (%rsi), %rsi
    PUSH_REGISTERS
trap_move_end:
    movq %rsp, %rdi
    call trap_from_kernel
    POP_REGISTERS
    iretq

# On IST1, with the second fault's frame; the first one's is overwritten. Its registers are mostly intact.
trap_stack_overflow:
    popq %rsi
    popq %rdi
    PUSH_REGISTERS
    movq %rsp, %rdi
    call trap_paranoid
1:  hlt
    jmp 1b

# On an IST stack that is 4 KiB-aligned at its top but for the last 16 bytes, where its CPU's struct cpu stands.
trap_entry_paranoid:
    PUSH_REGISTERS
    cld
    movl $MSR_GS_BASE, %ecx
    rdmsr
    movl %eax, %r12d
    movl %edx, %r13d
    movq FRAME_SIZE(%rsp), %rax
    movq %rax, %rdx
    shrq $32, %rdx
    wrmsr
    movq %rsp, %rdi
    xorl %ebp, %ebp
    call trap_paranoid
    movl $MSR_GS_BASE, %ecx
    movl %r12d, %eax
    movl %r13d, %edx
    wrmsr
    POP_REGISTERS
    iretq

# --- Threads ---
# void context_switch(struct thread_context *prev, struct thread_context *next)
    .balign 16
    .global context_switch
context_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq (%rsi), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

# Where a new kernel thread begins: RBX its function, R12 the argument.
    .global thread_begin_kernel
thread_begin_kernel:
    xorl %ebp, %ebp
    call sched_first_run
    sti
    movq %r12, %rdi
    call *%rbx
    call thread_exit_current
    ud2

# Where a new thread of the application begins: RSP at its frame.
    .global thread_begin_user
thread_begin_user:
    xorl %ebp, %ebp
    call sched_first_run
    jmp return_to_user

# void context_enter_user(struct trapframe *frame)
    .global context_enter_user
context_enter_user:
    movq %rdi, %rsp
    jmp return_to_user

    .section .note.GNU-stack, "", @progbits
