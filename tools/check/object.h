/*
 * An ELF file as a check sees it: its bytes at their addresses, its symbols, relocations and the places where functions begin. The
 * bytes are nobody's friend: every offset, length and count is held against the file's size, and nothing is looked at twice without
 * end. No locks: the host program has one thread.
 */
#pragma once

#include "tools/common.h"

struct segment {
    uint64_t address, size; /* what of it is in the file */
    uint64_t offset;
    bool executable, writable;
};

struct symbol {
    const char *name; /* within the object's bytes */
    uint64_t value, size;
    bool defined, indirect; /* indirect: the function returns the function (IFUNC) */
};

/* An address in the object; one that a function there returns; a symbol's, read by code (GOT) or any data. */
enum relocation_kind { RELOCATION_LOCAL, RELOCATION_INDIRECT, RELOCATION_SYMBOL, RELOCATION_DATA };

/* A word of data that the dynamic linker fills with an address. */
struct relocation {
    uint64_t at;
    uint64_t value; /* the address in the object; of a symbol: its index among the dynamic ones */
    enum relocation_kind kind;
};

/* Where a function begins; end is 0 when it is not known. */
struct extent {
    uint64_t start, end;
    const char *name; /* NULL: none */
};

struct object {
    char *name; /* its path, for people */
    uint8_t *bytes;
    size_t size;
    uint64_t entry;
    char *interpreter; /* NULL: none */
    bool position_independent;
    bool is_go, has_names, has_needed;
    struct segment *segments;
    size_t segment_count;
    struct symbol *symbols; /* the dynamic ones, index as in the file */
    size_t symbol_count;
    uint32_t *buckets, *chain; /* hash of the defined ones: index + 1, 0: none */
    size_t bucket_count;
    struct relocation *relocations; /* by address */
    size_t relocation_count;
    struct extent *extents; /* by start, each start once */
    size_t extent_count;
    uint64_t *roots; /* what is called at start and end: DT_INIT, DT_INIT_ARRAY, ... */
    size_t root_count;
};

/* Takes the bytes of a file, which it then owns. NULL, or what is wrong with it (the object can be freed, nothing else). */
const char *object_read(struct object *object, const char *name, uint8_t *bytes, size_t size);
void object_free(struct object *object);

/* The bytes from an address to the end of its segment's part in the file; NULL when there are none. */
const uint8_t *object_at(const struct object *object, uint64_t address, size_t *length);

const struct segment *object_segment(const struct object *object, uint64_t address);
bool object_is_code(const struct object *object, uint64_t address);

/* A string of at most `most` bytes, in the file; NULL when there is no end within them. */
const char *object_string(const struct object *object, uint64_t address, size_t most);

/* The relocation of exactly that word, or NULL. */
const struct relocation *object_relocation(const struct object *object, uint64_t at);

/* The defined dynamic symbol of that name that comes after `after` (NULL: the first), or NULL. */
const struct symbol *object_symbol(const struct object *object, const char *name, const struct symbol *after);

/* The extent that holds an address, or the last that begins before it; NULL when none does. */
const struct extent *object_extent(const struct object *object, uint64_t address);

/* For the files that read tables: adds an extent (sorted later) or a root; addresses that are no code are dropped. */
void object_add_extent(struct object *object, uint64_t start, uint64_t end, const char *name);
void object_add_root(struct object *object, uint64_t address);

size_t object_hash(const char *name); /* of symbols */

/* dynamic.c: the dynamic section at that address; a table of relocations; an array of functions to call. */
void object_read_dynamic(struct object *object, uint64_t address, uint64_t size);
void object_read_relocations(struct object *object, uint64_t address, uint64_t size);
void object_read_array(struct object *object, uint64_t address, uint64_t size);
void object_sort_relocations(struct object *object);

/* frames.c: the functions that .eh_frame describes; the section begins at that address. */
void object_read_frames(struct object *object, uint64_t address, size_t length);

/* gaps.c: beginnings of functions that nothing describes: what the code there calls. */
void object_find_starts(struct object *object);
void object_sort_extents(struct object *object);

/* gotable.c: the functions of a Go program's table (.gopclntab). */
void object_read_go(struct object *object, const uint8_t *table, size_t length);
