# Zeroing pages sixteen bytes a step, for processors whose string instructions are not fast. The application's registers are live in
# the processor while the kernel runs: the one that is used is saved. Legacy SSE leaves the upper halves of AVX registers alone.

    .text

# void pages_zero_sse(void *start, void *end): whole pages
    .global pages_zero_sse
    .type pages_zero_sse, @function
pages_zero_sse:
    subq $24, %rsp
    movups %xmm0, (%rsp)
    xorps %xmm0, %xmm0
1:
    .irp line, 0, 1, 2, 3, 4, 5, 6, 7
    movaps %xmm0, \line * 64(%rdi)
    movaps %xmm0, \line * 64 + 16(%rdi)
    movaps %xmm0, \line * 64 + 32(%rdi)
    movaps %xmm0, \line * 64 + 48(%rdi)
    .endr
    addq $512, %rdi
    cmpq %rsi, %rdi
    jne 1b
    movups (%rsp), %xmm0
    addq $24, %rsp
    ret
    .size pages_zero_sse, . - pages_zero_sse
