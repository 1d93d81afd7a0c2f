// The loader's checks of ELF files and #! lines: what each file of the kept corpus is refused for, and hundreds of mutations.
// link: tests/fuzz/program_case.c loader/elf.c loader/script.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fuzz/program_case.h"

#define CORPUS "tests/fuzz/corpus/elf/"
#define MUTATIONS 400 // of each file

static const struct {
    const char *file, *why; // NULL: it runs
} cases[] = {
    {"exec", NULL},
    {"pie", NULL},
    {"bss", NULL},
    {"bss_only", NULL},
    {"odd_align", NULL},
    {"huge_align", NULL},
    {"shared_page", NULL},
    {"gnu_stack", NULL},
    {"interp", NULL},
    {"interp_pie", NULL},
    {"interp_twice", NULL},
    {"interp_twice_bad", NULL}, // the first one counts
    {"interp_empty", "an interpreter's name that is empty or too long"},
    {"interp_long", "an interpreter's name that is empty or too long"},
    {"interp_outside", "truncated in its interpreter's name"},
    {"interp_wraps", "truncated in its interpreter's name"},
    {"gnu_property", NULL},
    {"descending", NULL},
    {"truncated_header", "truncated in its ELF header"},
    {"truncated_phdrs", "truncated in its program headers"},
    {"truncated_segment", "truncated: a segment lies beyond the end of the file"},
    {"elf32", "a 32-bit program"},
    {"arm", "for another machine than x86-64"},
    {"big_endian", "not little-endian"},
    {"relocatable", "not a program (neither ET_EXEC nor ET_DYN)"},
    {"overlap", "segments that overlap"},
    {"overflow_address", "a segment outside the application's address space"},
    {"overflow_size", "a segment outside the application's address space"},
    {"overflow_offset", "truncated: a segment lies beyond the end of the file"},
    {"overflow_phoff", "truncated in its program headers"},
    {"filesz", "a segment with more bytes in the file than in memory"},
    {"zero_length", "no segment to load"},
    {"misaligned", "a segment whose offset and address differ within the page"},
    {"entry_outside", "an entry point outside its code"},
    {"entry_in_data", "an entry point outside its code"},
    {"many_phdrs", "too many program headers"},
    {"no_phdrs", "no program headers"},
    {"wide", "segments too far apart"},
    {"low", "a segment below the lowest address for programs"},
    {"empty", "not an ELF file"},
    {"text", "not an ELF file"},
    {"script", NULL},
    {"script_cut", NULL},
    {"script_none", "no interpreter"},
    {"script_long", "no interpreter"},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static uint8_t *read_file(const char *name, size_t *size) {
    char path[256];
    snprintf(path, sizeof(path), CORPUS "%s", name);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s: cannot be opened", path);
    uint8_t *data = malloc(65536);
    *size = fread(data, 1, 65536, f);
    fclose(f);
    return data;
}

static void test_corpus(void **state) {
    for (size_t i = 0; i < CASES; i++) {
        size_t size;
        uint8_t *data = read_file(cases[i].file, &size);
        const char *why = program_case(data, size);
        if (cases[i].why ? !why || strcmp(why, cases[i].why) : why != NULL)
            fail_msg("%s: \"%s\" instead of \"%s\"", cases[i].file, why ? why : "runs",
                     cases[i].why ? cases[i].why : "runs");
        free(data);
    }
}

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static size_t mutate(uint8_t *data, size_t size) {
    static const uint64_t interesting[] = {0,
                                           1,
                                           0xfff,
                                           0x1000,
                                           0x7fff,
                                           0xffff,
                                           0x7fffffff,
                                           0xffffffff,
                                           0x7ffffffff000,
                                           0x7fffffffffffffff,
                                           0x8000000000000000,
                                           ~0ull};
    unsigned changes = 1 + next_random() % 4;
    for (unsigned i = 0; i < changes && size; i++) {
        size_t at = next_random() % size;
        switch (next_random() % 4) {
        case 0: data[at] = (uint8_t)next_random(); break;
        case 1: data[at] ^= (uint8_t)(1u << next_random() % 8); break;
        case 2: { // a whole field
            uint64_t v = interesting[next_random() % (sizeof(interesting) / sizeof(interesting[0]))];
            size_t width = (size_t)2 << next_random() % 3;
            at -= at % width;
            if (at + width <= size)
                memcpy(data + at, &v, width);
            break;
        }
        case 3: size -= next_random() % 8 == 0 ? next_random() % size : 0; break;
        }
    }
    return size;
}

static void test_mutations(void **state) {
    for (size_t i = 0; i < CASES; i++) {
        size_t size;
        uint8_t *original = read_file(cases[i].file, &size);
        for (unsigned n = 0; n < MUTATIONS; n++) {
            uint8_t *data = malloc(size + 1);
            memcpy(data, original, size);
            size_t left = mutate(data, size);
            program_case(data, left); // aborts when an invariant is broken
            free(data);
        }
        free(original);
    }
}

static void test_truncations(void **state) {
    for (size_t i = 0; i < CASES; i++) {
        size_t size;
        uint8_t *data = read_file(cases[i].file, &size);
        for (size_t n = 0; n < size; n++) {
            uint8_t *part = malloc(n + 1);
            memcpy(part, data, n);
            const char *why = program_case(part, n);
            if (!why && n < 120 && data[0] == 0x7f)
                fail_msg("%s: runs when cut to %zu bytes", cases[i].file, n);
            free(part);
        }
        free(data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_truncations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
