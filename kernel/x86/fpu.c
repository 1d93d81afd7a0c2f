// Floating point and vector registers, saved and loaded with the application's threads.
#include "kernel/x86/fpu.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/x86/cpu.h"

#define CR4_OSFXSR (1UL << 9)
#define CR4_OSXMMEXCPT (1UL << 10)
#define CR4_OSXSAVE (1UL << 18)

// x87, SSE, AVX, AVX-512. Protection keys and AMX need more from the kernel than saving; MPX is gone from this world.
#define XFEATURES 0xe7UL
#define XFEATURES_AVX512 0xe0UL
#define LEGACY_SIZE 512
#define HEADER_SIZE 64
#define MXCSR_DEFAULT 0x1f80
#define MXCSR_MASK_DEFAULT 0xffbf

uint32_t fpu_area_size;
uint64_t fpu_features;
static uint32_t mxcsr_mask;

void fpu_init_cpu(void) {
    const struct cpu_features *f = &cpu_features;
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT | (f->xsave ? CR4_OSXSAVE : 0));
    if (f->xsave) {
        struct cpuid r = cpuid(0xd, 0);
        uint64_t features = (r.eax | (uint64_t)r.edx << 32) & XFEATURES;
        if ((features & XFEATURES_AVX512) != XFEATURES_AVX512)
            features &= ~XFEATURES_AVX512;
        __asm__ volatile("xsetbv" ::"c"(0), "a"((uint32_t)features), "d"((uint32_t)(features >> 32)));
        fpu_features = features;
        fpu_area_size = cpuid(0xd, 0).ebx; // for what XCR0 enables now
    } else {
        fpu_area_size = LEGACY_SIZE;
    }
    if (mxcsr_mask == 0) {
        static uint8_t area[LEGACY_SIZE] ALIGNED(64);
        __asm__ volatile("fxsave64 %0" : "=m"(area));
        memcpy(&mxcsr_mask, area + 28, 4);
        if (mxcsr_mask == 0)
            mxcsr_mask = MXCSR_MASK_DEFAULT;
    }
    __asm__ volatile("fninit");
}

void fpu_area_reset(void *area) {
    memset(area, 0, fpu_area_size); // XSTATE_BV 0: every component in its initial state
    *(uint16_t *)area = 0x37f;
    *(uint32_t *)((char *)area + 24) = MXCSR_DEFAULT;
    *(uint32_t *)((char *)area + 28) = mxcsr_mask;
}

void fpu_save(void *area) {
    if (cpu_features.xsaveopt)
        __asm__ volatile("xsaveopt64 (%0)" ::"r"(area), "a"(~0u), "d"(~0u) : "memory");
    else if (cpu_features.xsave)
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(~0u), "d"(~0u) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

void fpu_load(const void *area) {
    if (cpu_features.xsave)
        __asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(~0u), "d"(~0u) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}

void fpu_clear_exceptions(void) { __asm__ volatile("fnclex"); }

bool fpu_area_valid(const void *area) {
    const uint64_t *header = (const uint64_t *)((const char *)area + LEGACY_SIZE);
    if (*(const uint32_t *)((const char *)area + 24) & ~mxcsr_mask)
        return false;
    return !cpu_features.xsave || (!(header[0] & ~fpu_features) && !header[1] && !header[2]);
}

void fpu_area_sanitize(void *area) {
    *(uint32_t *)((char *)area + 24) &= mxcsr_mask;
    if (cpu_features.xsave) {
        uint64_t *header = (uint64_t *)((char *)area + LEGACY_SIZE);
        header[0] &= fpu_features;
        memset(header + 1, 0, HEADER_SIZE - 8); // standard format, reserved bits zero
    }
}
