// The floor that boots are measured against: a kernel that prints one line to the serial port and resets. Entered by PVH, in
// 32-bit mode without paging.

    .section .note.pvh, "a", @note
    .long 4, 4, 18 // sizes of name and description; XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long start

    .text
    .code32
    .globl start
start:
    mov $message, %esi
    mov $0x3f8, %edx
1:  lodsb
    test %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  lidt empty // an interrupt without a table resets the machine
    int3
    jmp 2b

message:
    .asciz "Hello, world!\n"
    .align 4
empty:
    .word 0
    .long 0
