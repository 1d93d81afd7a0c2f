# From the firmware into kernel_main(): the PVH entry (32-bit protected mode, paging off, EBX: hvm_start_info), that of Multiboot2 (the
# same, EAX: its magic, EBX: its tags), and where the other CPUs begin. All load the boot page table, which shows the first GiB of RAM at 0, at DIRECT_MAP_BASE and at
# KERNEL_BASE, and leave it for the final one (pagetable.c) as soon as that exists.
#include "kernel/x86/vectors.h"

#define PHYS(sym) ((sym) - KERNEL_BASE)

#define CR0_PE 0x00000001
#define CR0_BITS 0x80050033 /* PG AM WP NE ET MP PE */
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_SCE_LME_NXE 0x901
#define MSR_GS_BASE 0xc0000101
#define BOOT_CS32 0x08 /* in boot_gdt only */

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad PHYS(boot_entry)

    .section .text.boot, "ax", @progbits

# Afterwards a far jump to KERNEL_CS begins 64-bit mode.
    .macro ENTER_LONG_MODE
    movl $PHYS(boot_pml4), %eax
    movl %eax, %cr3
    movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $MSR_EFER, %ecx
    movl $EFER_SCE_LME_NXE, %eax
    xorl %edx, %edx
    wrmsr
    lgdt PHYS(boot_gdt_pointer)
    movl $CR0_BITS, %eax
    movl %eax, %cr0
    .endm

    .macro CLEAR_SEGMENTS
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl $KERNEL_DS, %eax # as SYSCALL and IRETQ leave it: QEMU translates code again for a stack segment of another kind
    movl %eax, %ss
    .endm

# RAX: the CPU's struct cpu. Clobbers ECX, RDX.
    .macro LOAD_GS_BASE
    movl $MSR_GS_BASE, %ecx
    movq %rax, %rdx
    shrq $32, %rdx
    wrmsr
    .endm

    .code32
    .global boot_entry
boot_entry:
    xorl %esi, %esi # kernel_main's second argument: not Multiboot2
1:  cli
    cld
    movl %ebx, %edi # kernel_main's argument; cpuid takes EBX

    # Long mode and NX are required. Who lacks them is told so on the serial port.
    movl $0x80000001, %eax
    cpuid
    notl %edx
    testl $0x20100000, %edx
    jnz no_long_mode

    ENTER_LONG_MODE
    ljmp $KERNEL_CS, $PHYS(boot64)

# The tags may lie anywhere below 4 GiB: the GiB that they begin in, and the next one, are shown, too. The lower pages of the boot
# stack are the tables for it; nobody gets down there before the final ones are made.
multiboot_entry:
    movl %eax, %esi
    movl $PHYS(boot_stack), %edi
    movl %ebx, %eax
    andl $0xc0000000, %eax
    orl $0xe3, %eax
    xorl %edx, %edx
    movl $1024, %ecx
2:  movl %eax, (%edi)
    movl %edx, 4(%edi)
    addl $8, %edi
    addl $0x200000, %eax
    adcl $0, %edx
    decl %ecx
    jnz 2b
    movl %ebx, %edx
    shrl $30, %edx
    movl $PHYS(boot_stack) + 0x1023, PHYS(boot_pdpt_low) + 8(, %edx, 8)
    jz 1b # the first GiB is there already
    movl $PHYS(boot_stack) + 0x23, PHYS(boot_pdpt_low)(, %edx, 8)
    jmp 1b

# The header of Multiboot2 (specification 2.0, 3.1): within the file's first 32 KiB.
    .balign 8
multiboot_header:
    .long 0xe85250d6, 0, multiboot_header_end - multiboot_header
    .long -(0xe85250d6 + (multiboot_header_end - multiboot_header))
    .word 3, 0 # where it is entered, whatever the ELF header says
    .long 12, PHYS(multiboot_entry)
    .balign 8
    .word 6, 0 # modules begin a page
    .long 8
    .word 0, 0
    .long 8
multiboot_header_end:

no_long_mode:
    movl $PHYS(no_long_mode_text), %esi
    movw $0x3f8, %dx
1:  lodsb
    testb %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  lidt PHYS(no_idt) # and so a reset
    ud2

    .code64
boot64:
    movq $1f, %rax
    jmp *%rax
1:  CLEAR_SEGMENTS
    movq $boot_stack_top, %rsp
    xorl %ebp, %ebp

    # Per-CPU data before any C: the stack protector reads its canary there.
    movq $boot_cpu, %rax
    movq %rax, boot_cpu # self
    LOAD_GS_BASE
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    movq $0x9e3779b97f4a7c15, %rcx
    mulq %rcx
    xorq %rdx, %rax
    shlq $8, %rax # a zero byte, which strings do not carry; random_init's owner replaces it by a better one
    movq %rax, boot_cpu + CPU_CANARY

    movl %edi, %edi
    call kernel_main
    ud2

# --- The other CPUs ---
# They begin in real mode at the start of a page below 1 MiB, into which smp.c copied what lies between trampoline_start
# and trampoline_end. Each takes the next of the struct cpu that were prepared; one too many halts.
    .code16
    .global trampoline_start, trampoline_end
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl trampoline_gdt_pointer - trampoline_start
    movl $CR0_PE, %eax
    movl %eax, %cr0
    ljmpl $BOOT_CS32, $PHYS(secondary32)
    .balign 4
trampoline_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long PHYS(boot_gdt)
trampoline_end:

    .code32
secondary32:
    movl $KERNEL_DS, %eax
    movl %eax, %ds
    ENTER_LONG_MODE
    ljmp $KERNEL_CS, $PHYS(secondary64)

    .code64
secondary64:
    movq $1f, %rax
    jmp *%rax
1:  CLEAR_SEGMENTS
    movq secondary_root, %rax
    movq %rax, %cr3
    movl $1, %eax
    lock xaddl %eax, secondary_arrived
    cmpl secondary_prepared, %eax
    jae 2f
    movq secondary_cpus(, %rax, 8), %rax
    movq CPU_KERNEL_STACK(%rax), %rsp
    xorl %ebp, %ebp
    LOAD_GS_BASE
    call secondary_main
    ud2
2:  cli
    hlt
    jmp 2b

    .section .rodata, "a", @progbits
no_long_mode_text:
    .asciz "knarr: this processor has no 64-bit mode with NX\r\n"

    .balign 8
no_idt:
    .quad 0
boot_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff # BOOT_CS32
    .quad 0x00af9b000000ffff # KERNEL_CS
    .quad 0x00cf93000000ffff # KERNEL_DS
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long PHYS(boot_gdt)

# The processor itself writes to these (accessed, dirty): the bits are set beforehand.
    .balign 4096
    .global boot_pml4
boot_pml4:
    .quad PHYS(boot_pdpt_low) + 0x23
    .fill 255, 8, 0
    .quad PHYS(boot_pdpt_low) + 0x23
    .fill 254, 8, 0
    .quad PHYS(boot_pdpt_high) + 0x23
boot_pdpt_low:
    .quad PHYS(boot_pd) + 0x23
    .fill 511, 8, 0
boot_pdpt_high:
    .fill 510, 8, 0
    .quad PHYS(boot_pd) + 0x23
    .quad 0
boot_pd:
    .set address, 0
    .rept 512
    .quad address + 0xe3
    .set address, address + 0x200000
    .endr

    .section .boot_stack, "aw", @nobits
    .balign 4096
    .global boot_stack, boot_stack_top
boot_stack:
    .skip 16384
boot_stack_top:

    .section .note.GNU-stack, "", @progbits
