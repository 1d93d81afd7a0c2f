// Floating point and vector registers, saved and loaded with the application's threads.
#include "kernel/x86/fpu.h"
#include "kernel/log.h"
#include "kernel/memory/usercopy.h"
#include "kernel/string.h"
#include "kernel/x86/cpu.h"
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

// kernel/x86/usercopy.S
int user_xsave(void *area, const void *software, size_t magic2_at, uint32_t magic2);
int user_fxsave(void *area);
int user_fxrstor(const void *area);
int user_xrstor(const void *area, uint64_t components);

#define SOFTWARE_BYTES 464 // struct _fpx_sw_bytes in the legacy area

int fpu_save_frame(uaddr_t to) {
    if (!fpu_features)
        return user_fxsave((void *)to);
    const struct _fpx_sw_bytes sw = {.magic1 = FP_XSTATE_MAGIC1,
                                     .extended_size = fpu_area_size + MAGIC2_SIZE,
                                     .xfeatures = fpu_features,
                                     .xstate_size = fpu_area_size};
    return user_xsave((void *)to, &sw, fpu_area_size, FP_XSTATE_MAGIC2);
}

// How much of the state at `from` can be believed: all of it, or only its legacy part.
static bool has_extended_state(uaddr_t from, struct _fpx_sw_bytes *sw) {
    uint32_t magic2 = 0;
    if (!fpu_features || copy_in(sw, from + SOFTWARE_BYTES, offsetof(struct _fpx_sw_bytes, padding)) < 0)
        return false;
    return sw->magic1 == FP_XSTATE_MAGIC1 && sw->xstate_size >= LEGACY_SIZE + HEADER_SIZE &&
           sw->xstate_size <= fpu_area_size && sw->xstate_size <= sw->extended_size &&
           user_load32(from + sw->xstate_size, &magic2) == 0 && magic2 == FP_XSTATE_MAGIC2;
}

int fpu_load_frame(uaddr_t from) {
    uint32_t mxcsr; // looked at here because QEMU's emulation (7.2) does not refuse reserved bits
    if (user_load32(from + MXCSR_AT, &mxcsr) < 0 || mxcsr & ~mxcsr_mask)
        return -EFAULT;
    struct _fpx_sw_bytes sw;
    if (!has_extended_state(from, &sw)) {
        fpu_load_initial();
        return user_fxrstor((const void *)from);
    }
    uint64_t components = sw.xfeatures & fpu_features;
    if (components != fpu_features)
        fpu_load_initial();
    return user_xrstor((const void *)from, components);
}
