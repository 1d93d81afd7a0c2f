// Floating point and vector registers, saved and loaded with the application's threads.
#include "kernel/x86/fpu.h"
#include "kernel/log.h"
#include "kernel/memory/usercopy.h"
#include "kernel/string.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/useraccess.h"
#include <asm/sigcontext.h>

#define CR4_OSFXSR (1UL << 9)
#define CR4_OSXMMEXCPT (1UL << 10)
#define CR4_OSXSAVE (1UL << 18)

// x87, SSE, AVX, AVX-512. Protection keys and AMX need more from the kernel than saving; MPX is gone from this world.
#define XFEATURES 0xe7UL
#define XFEATURES_AVX512 0xe0UL
#define LEGACY_SIZE 512
#define MXCSR_AT 24
#define HEADER_SIZE 64
#define MAGIC2_SIZE 4 // behind the area in a signal frame
#define MXCSR_DEFAULT 0x1f80
#define MXCSR_MASK_DEFAULT 0xffbf

uint32_t fpu_area_size;
uint64_t fpu_features;
uint32_t fpu_frame_size;
static uint32_t mxcsr_mask;
static uint8_t initial[LEGACY_SIZE + HEADER_SIZE] ALIGNED(64); // XSTATE_BV 0: all that XRSTOR and FXRSTOR look at

static void fill_legacy(void *area) {
    *(uint16_t *)area = 0x37f;
    *(uint32_t *)((char *)area + 24) = MXCSR_DEFAULT;
    *(uint32_t *)((char *)area + 28) = mxcsr_mask;
}

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
    fpu_frame_size = fpu_area_size + (f->xsave ? MAGIC2_SIZE : 0);
    if (mxcsr_mask == 0) {
        static uint8_t area[LEGACY_SIZE] ALIGNED(64);
        __asm__ volatile("fxsave64 %0" : "=m"(area));
        memcpy(&mxcsr_mask, area + 28, 4);
        if (mxcsr_mask == 0)
            mxcsr_mask = MXCSR_MASK_DEFAULT;
        fill_legacy(initial);
    }
    __asm__ volatile("fninit");
}

void fpu_area_reset(void *area) {
    memset(area, 0, fpu_area_size); // XSTATE_BV 0: every component in its initial state
    fill_legacy(area);
}

void fpu_load_initial(void) { fpu_load(initial); }

void fpu_clear_exceptions(void) { __asm__ volatile("fnclex"); }

// --- In signal frames ---

#define SOFTWARE_BYTES 464 // struct _fpx_sw_bytes in the legacy area

// The words of struct _fpx_sw_bytes, all in one place.
static inline uint64_t magic1_word(void) { return FP_XSTATE_MAGIC1 | (uint64_t)(fpu_area_size + MAGIC2_SIZE) << 32; }

int fpu_save_frame(uaddr_t to) {
    uint64_t *header = (uint64_t *)(to + LEGACY_SIZE), *software = (uint64_t *)(to + SOFTWARE_BYTES);
    user_access_begin();
    if (!fpu_features) {
        user_insn(fault, "fxsave64 (%0)", "r"(to));
        user_access_end();
        return 0;
    }
    // XSAVE writes only a part of the header, so that is cleared; x87 and SSE count as present.
    user_put_zeroes(header, HEADER_SIZE / 8, fault);
    user_insn(fault, "xsave64 (%0)", "r"(to), "a"(~0u), "d"(~0u));
    user_insn(fault, "orq $3, (%0)", "r"(header));
    user_put(to + fpu_area_size, FP_XSTATE_MAGIC2, fault);
    user_put(software, magic1_word(), fault);
    user_put(software + 1, fpu_features, fault);
    user_put(software + 2, (uint64_t)fpu_area_size, fault);
    user_put_zeroes(software + 3, sizeof(struct _fpx_sw_bytes) / 8 - 3, fault);
    user_access_end();
    return 0;
fault:
    user_access_end();
    return -EFAULT;
}

int fpu_load_frame(uaddr_t from) {
    const uint64_t *software = (const uint64_t *)(from + SOFTWARE_BYTES);
    uint64_t magic1 = 0, components = 0;
    uint32_t mxcsr, size, magic2;
    user_access_begin();
    user_get(mxcsr, from + MXCSR_AT, fault);
    if (mxcsr & ~mxcsr_mask) // looked at here because QEMU's emulation (7.2) does not refuse reserved bits
        goto fault;
    // How much of it can be believed: all, or only its legacy part.
    user_get(magic1, software, fault);
    user_get(components, software + 1, fault);
    user_get(size, software + 2, fault);
    if (!fpu_features || (uint32_t)magic1 != FP_XSTATE_MAGIC1 || size < LEGACY_SIZE + HEADER_SIZE ||
        size > fpu_area_size || size > magic1 >> 32)
        goto legacy;
    user_get(magic2, from + size, legacy);
    if (magic2 != FP_XSTATE_MAGIC2)
        goto legacy;
    components &= fpu_features;
    if (unlikely(components != fpu_features))
        fpu_load_initial();
    user_insn(fault, "xrstor64 (%0)", "r"(from), "a"((uint32_t)components), "d"((uint32_t)(components >> 32)));
    user_access_end();
    return 0;
legacy:
    fpu_load_initial();
    user_insn(fault, "fxrstor64 (%0)", "r"(from));
    user_access_end();
    return 0;
fault:
    user_access_end();
    return -EFAULT;
}
