# The instructions that touch the application's memory. Each has an entry in the exception table: {its address, where to go on
# when it faults}. STAC and CLAC are NOPs that cpu.c patches where the processor has SMAP.
#include <asm/errno.h>

    .macro SMAP_PATCH low_bit
    .p2align 1
.Lsmap\@: .byte 0x0f, 0x1f, 0x00 # three-byte NOP
    .pushsection .smap_patch, "a", @progbits
    .quad .Lsmap\@ + \low_bit
    .popsection
    .endm

    .macro STAC
    SMAP_PATCH 1
    .endm

    .macro CLAC
    SMAP_PATCH 0
    .endm

    .macro FIXUP at, to
    .pushsection .ex_table, "a", @progbits
    .quad \at, \to
    .popsection
    .endm

    .text

# size_t user_copy(void *dst, const void *src, size_t n): either side may be the application's. The bytes NOT copied.
    .global user_copy
    .type user_copy, @function
user_copy:
    STAC
    movq %rdx, %rcx
    shrq $3, %rcx
    andl $7, %edx
1:  rep movsq
    movl %edx, %ecx
2:  rep movsb
3:  CLAC
    movq %rcx, %rax
    ret
4:  leaq (%rdx, %rcx, 8), %rcx # the eight bytes that faulted may be good in part
5:  rep movsb
    jmp 3b
    FIXUP 1b, 4b
    FIXUP 2b, 3b
    FIXUP 5b, 3b
    .size user_copy, . - user_copy

# size_t user_clear(void *dst, size_t n): the bytes NOT cleared.
    .global user_clear
    .type user_clear, @function
user_clear:
    STAC
    movq %rsi, %rcx
    shrq $3, %rcx
    andl $7, %esi
    xorl %eax, %eax
1:  rep stosq
    movl %esi, %ecx
2:  rep stosb
3:  CLAC
    movq %rcx, %rax
    ret
4:  leaq (%rsi, %rcx, 8), %rcx
5:  rep stosb
    jmp 3b
    FIXUP 1b, 4b
    FIXUP 2b, 3b
    FIXUP 5b, 3b
    .size user_clear, . - user_clear

# long user_copy_str(char *dst, const char *src, size_t size): copies up to and including the NUL. The length, `size` when there
# is no NUL within it, -EFAULT. Eight bytes at a time; where those fault, one at a time.
    .global user_copy_str
    .type user_copy_str, @function
user_copy_str:
    STAC
    xorl %eax, %eax
    movabsq $0x0101010101010101, %r8
    movabsq $0x8080808080808080, %r9
1:  cmpq $8, %rdx
    jb 4f
2:  movq (%rsi, %rax), %rcx
    movq %rcx, (%rdi, %rax)
    movq %rcx, %r10
    subq %r8, %r10
    notq %rcx
    andq %r9, %r10
    andq %rcx, %r10 # the lowest bit set is in the first zero byte
    jnz 3f
    addq $8, %rax
    subq $8, %rdx
    jmp 1b
3:  bsfq %r10, %rcx
    shrl $3, %ecx
    addq %rcx, %rax
    jmp 6f
4:  testq %rdx, %rdx
    jz 6f
5:  movzbl (%rsi, %rax), %ecx
    movb %cl, (%rdi, %rax)
    testl %ecx, %ecx
    jz 6f
    incq %rax
    decq %rdx
    jmp 4b
6:  CLAC
    ret
7:  movq $-EFAULT, %rax
    jmp 6b
    FIXUP 2b, 4b
    FIXUP 5b, 7b
    .size user_copy_str, . - user_copy_str

# int user_read32(const uint32_t *src, uint32_t *value): 0 or -EFAULT
    .global user_read32
    .type user_read32, @function
user_read32:
    STAC
1:  movl (%rdi), %ecx
    CLAC
    movl %ecx, (%rsi)
    xorl %eax, %eax
    ret
2:  CLAC
    movl $-EFAULT, %eax
    ret
    FIXUP 1b, 2b
    .size user_read32, . - user_read32

# int user_read64(const uint64_t *src, uint64_t *value), int user_write64(uint64_t *dst, uint64_t value): 0 or -EFAULT
    .global user_read64
    .type user_read64, @function
user_read64:
    STAC
1:  movq (%rdi), %rcx
    CLAC
    movq %rcx, (%rsi)
    xorl %eax, %eax
    ret
2:  CLAC
    movl $-EFAULT, %eax
    ret
    FIXUP 1b, 2b
    .size user_read64, . - user_read64

    .global user_write64
    .type user_write64, @function
user_write64:
    STAC
1:  movq %rsi, (%rdi)
    CLAC
    xorl %eax, %eax
    ret
2:  CLAC
    movl $-EFAULT, %eax
    ret
    FIXUP 1b, 2b
    .size user_write64, . - user_write64

# int user_exchange32(uint32_t *dst, uint32_t expected, uint32_t desired, uint32_t *old): 0 or -EFAULT
    .global user_exchange32
    .type user_exchange32, @function
user_exchange32:
    movl %esi, %eax
    movq %rcx, %r8
    STAC
1:  lock cmpxchgl %edx, (%rdi)
    CLAC
    movl %eax, (%r8)
    xorl %eax, %eax
    ret
2:  CLAC
    movl $-EFAULT, %eax
    ret
    FIXUP 1b, 2b
    .size user_exchange32, . - user_exchange32
