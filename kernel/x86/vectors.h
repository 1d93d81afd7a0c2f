// Segment selectors, interrupt vectors and the offsets that the assembly knows. Included by C and by assembly.
#ifndef KERNEL_X86_VECTORS_H
#define KERNEL_X86_VECTORS_H

#define KERNEL_BASE 0xffffffff80000000

// As Linux has them: programs find them in signal frames. STAR wants user data and code behind a 32-bit code segment.
#define KERNEL_CS 0x10
#define KERNEL_DS 0x18
#define USER_CS32 0x23
#define USER_SS 0x2b
#define USER_CS 0x33
#define TSS_SELECTOR 0x40

// Exceptions (Intel SDM vol. 3, 6.3.1).
#define VECTOR_DE 0
#define VECTOR_DB 1
#define VECTOR_NMI 2
#define VECTOR_BP 3
#define VECTOR_OF 4
#define VECTOR_BR 5
#define VECTOR_UD 6
#define VECTOR_NM 7
#define VECTOR_DF 8
#define VECTOR_TS 10
#define VECTOR_NP 11
#define VECTOR_SS 12
#define VECTOR_GP 13
#define VECTOR_PF 14
#define VECTOR_MF 16
#define VECTOR_AC 17
#define VECTOR_MC 18
#define VECTOR_XM 19
#define VECTOR_CP 21

// Interrupts. The PIC's lines, should one ever come through, are parked at 0x20; devices get vectors from VECTOR_DEVICE up.
#define VECTOR_PIC 0x20
#define VECTOR_DEVICE 0x30
#define VECTOR_DEVICE_END 0x70
#define VECTOR_TIMER 0x70
#define VECTOR_KICK 0x71
#define VECTOR_CALL 0x72
#define VECTOR_SPURIOUS 0x7f
#define VECTOR_COUNT 0x80

// struct trapframe (context.h), checked in trap.c.
#define FRAME_R15 0
#define FRAME_R14 8
#define FRAME_R13 16
#define FRAME_R12 24
#define FRAME_RBP 32
#define FRAME_RBX 40
#define FRAME_R11 48
#define FRAME_R10 56
#define FRAME_R9 64
#define FRAME_R8 72
#define FRAME_RAX 80
#define FRAME_RCX 88
#define FRAME_RDX 96
#define FRAME_RSI 104
#define FRAME_RDI 112
#define FRAME_VECTOR 120
#define FRAME_ERROR 128
#define FRAME_RIP 136
#define FRAME_CS 144
#define FRAME_RFLAGS 152
#define FRAME_RSP 160
#define FRAME_SS 168
#define FRAME_SIZE 176

// struct cpu and struct thread, checked in trap.c.
#define CPU_CURRENT 8
#define CPU_KERNEL_STACK 16
#define CPU_USER_RSP 24
#define CPU_CANARY 40
#define THREAD_WORK 40

#endif
