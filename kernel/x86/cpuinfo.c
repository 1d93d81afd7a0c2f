// The processor's identity and the names of its features, from CPUID (Intel SDM volume 2, AMD APM volume 3).
#include "kernel/x86/cpuinfo.h"
#include "kernel/string.h"
#include "kernel/x86/cpu.h"

enum { LEAF1_EDX, LEAF1_ECX, EXT1_EDX, EXT1_ECX, LEAF7_EBX, LEAF7_ECX, LEAF7_EDX };

// In the order in which Linux prints them, which is that of its words.
static const struct flag {
    uint8_t word, bit;
    char name[18];
} flags[] = {
    {LEAF1_EDX, 0, "fpu"},
    {LEAF1_EDX, 1, "vme"},
    {LEAF1_EDX, 2, "de"},
    {LEAF1_EDX, 3, "pse"},
    {LEAF1_EDX, 4, "tsc"},
    {LEAF1_EDX, 5, "msr"},
    {LEAF1_EDX, 6, "pae"},
    {LEAF1_EDX, 7, "mce"},
    {LEAF1_EDX, 8, "cx8"},
    {LEAF1_EDX, 9, "apic"},
    {LEAF1_EDX, 11, "sep"},
    {LEAF1_EDX, 12, "mtrr"},
    {LEAF1_EDX, 13, "pge"},
    {LEAF1_EDX, 14, "mca"},
    {LEAF1_EDX, 15, "cmov"},
    {LEAF1_EDX, 16, "pat"},
    {LEAF1_EDX, 17, "pse36"},
    {LEAF1_EDX, 19, "clflush"},
    {LEAF1_EDX, 23, "mmx"},
    {LEAF1_EDX, 24, "fxsr"},
    {LEAF1_EDX, 25, "sse"},
    {LEAF1_EDX, 26, "sse2"},
    {LEAF1_EDX, 27, "ss"},
    {LEAF1_EDX, 28, "ht"},
    {EXT1_EDX, 11, "syscall"},
    {EXT1_EDX, 20, "nx"},
    {EXT1_EDX, 22, "mmxext"},
    {EXT1_EDX, 25, "fxsr_opt"},
    {EXT1_EDX, 26, "pdpe1gb"},
    {EXT1_EDX, 27, "rdtscp"},
    {EXT1_EDX, 29, "lm"},
    {EXT1_EDX, 30, "3dnowext"},
    {EXT1_EDX, 31, "3dnow"},
    {LEAF1_ECX, 0, "pni"},
    {LEAF1_ECX, 1, "pclmulqdq"},
    {LEAF1_ECX, 3, "monitor"},
    {LEAF1_ECX, 9, "ssse3"},
    {LEAF1_ECX, 12, "fma"},
    {LEAF1_ECX, 13, "cx16"},
    {LEAF1_ECX, 17, "pcid"},
    {LEAF1_ECX, 19, "sse4_1"},
    {LEAF1_ECX, 20, "sse4_2"},
    {LEAF1_ECX, 21, "x2apic"},
    {LEAF1_ECX, 22, "movbe"},
    {LEAF1_ECX, 23, "popcnt"},
    {LEAF1_ECX, 24, "tsc_deadline_timer"},
    {LEAF1_ECX, 25, "aes"},
    {LEAF1_ECX, 26, "xsave"},
    {LEAF1_ECX, 28, "avx"},
    {LEAF1_ECX, 29, "f16c"},
    {LEAF1_ECX, 30, "rdrand"},
    {LEAF1_ECX, 31, "hypervisor"},
    {EXT1_ECX, 0, "lahf_lm"},
    {EXT1_ECX, 4, "cr8_legacy"},
    {EXT1_ECX, 5, "abm"},
    {EXT1_ECX, 6, "sse4a"},
    {EXT1_ECX, 7, "misalignsse"},
    {EXT1_ECX, 8, "3dnowprefetch"},
    {LEAF7_EBX, 0, "fsgsbase"},
    {LEAF7_EBX, 3, "bmi1"},
    {LEAF7_EBX, 5, "avx2"},
    {LEAF7_EBX, 7, "smep"},
    {LEAF7_EBX, 8, "bmi2"},
    {LEAF7_EBX, 9, "erms"},
    {LEAF7_EBX, 10, "invpcid"},
    {LEAF7_EBX, 16, "avx512f"},
    {LEAF7_EBX, 17, "avx512dq"},
    {LEAF7_EBX, 18, "rdseed"},
    {LEAF7_EBX, 19, "adx"},
    {LEAF7_EBX, 20, "smap"},
    {LEAF7_EBX, 21, "avx512ifma"},
    {LEAF7_EBX, 23, "clflushopt"},
    {LEAF7_EBX, 24, "clwb"},
    {LEAF7_EBX, 28, "avx512cd"},
    {LEAF7_EBX, 29, "sha_ni"},
    {LEAF7_EBX, 30, "avx512bw"},
    {LEAF7_EBX, 31, "avx512vl"},
    {LEAF7_ECX, 1, "avx512vbmi"},
    {LEAF7_ECX, 2, "umip"},
    {LEAF7_ECX, 3, "pku"},
    {LEAF7_ECX, 8, "gfni"},
    {LEAF7_ECX, 9, "vaes"},
    {LEAF7_ECX, 10, "vpclmulqdq"},
    {LEAF7_ECX, 11, "avx512_vnni"},
    {LEAF7_ECX, 14, "avx512_vpopcntdq"},
    {LEAF7_ECX, 16, "la57"},
    {LEAF7_ECX, 22, "rdpid"},
    {LEAF7_EDX, 4, "fsrm"},
};

static uint32_t word_value(unsigned word) {
    const struct cpu_features *f = &cpu_features;
    switch (word) {
    case LEAF1_EDX: return f->leaf1_edx;
    case LEAF1_ECX: return f->leaf1_ecx;
    case LEAF7_EBX: return f->leaf7_ebx;
    case LEAF7_ECX: return f->leaf7_ecx;
    case LEAF7_EDX: return f->leaf7_edx;
    }
    struct cpuid r = cpuid(0x80000001, 0);
    return word == EXT1_EDX ? r.edx : r.ecx;
}

const char *cpu_flag_next(unsigned *i) {
    while (*i < ARRAY_SIZE(flags)) {
        const struct flag *f = &flags[(*i)++];
        if (word_value(f->word) >> f->bit & 1)
            return f->name;
    }
    return NULL;
}

void cpu_identity(struct cpu_identity *out) {
    uint32_t eax = cpu_features.leaf1_eax;
    unsigned base_family = eax >> 8 & 15, base_model = eax >> 4 & 15;
    *out = (struct cpu_identity){
        .family = base_family == 15 ? base_family + (eax >> 20 & 255) : base_family,
        .model = base_family == 15 || base_family == 6 ? base_model | (eax >> 12 & 0xf0) : base_model,
        .stepping = eax & 15,
        .phys_bits = cpu_features.phys_bits,
        .virt_bits = 48,
    };
    if (cpu_features.max_extended_leaf >= 0x80000006)
        out->cache_kb = cpuid(0x80000006, 0).ecx >> 16;
    str_copy(out->vendor, cpu_features.vendor, sizeof(out->vendor));
    cpu_brand(out->brand);
}

// Intel's leaf, or AMD's of the same form.
bool cpu_cache(unsigned i, struct cpu_cache *out) {
    uint32_t leaf = cpu_features.max_extended_leaf >= 0x8000001d && cpuid(0x8000001d, 0).eax ? 0x8000001d : 4;
    if ((leaf == 4 && cpu_features.max_leaf < 4) || i > 16)
        return false;
    struct cpuid c = cpuid(leaf, i);
    *out = (struct cpu_cache){
        .level = c.eax >> 5 & 7,
        .type = c.eax & 31,
        .line = (c.ebx & 0xfff) + 1,
        .sets = c.ecx + 1,
        .ways = (c.ebx >> 22) + 1,
    };
    out->size = out->line * out->sets * out->ways * ((c.ebx >> 12 & 0x3ff) + 1);
    return out->type;
}
