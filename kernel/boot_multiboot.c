// Multiboot2 (the specification's version 2.0, chapter 3.6): what the loader tells in tags, into boot_info. GRUB is such a loader. Nothing
// in the tags is trusted; all that is wanted of them is copied, for their memory is RAM like any other afterwards.
#include "kernel/boot.h"
#include "kernel/string.h"
#include "kernel/x86/boot_memory.h"

#define INFO_MAX (1u << 20) // larger ones are nonsense
enum { TAG_END = 0, TAG_CMDLINE = 1, TAG_MODULE = 3, TAG_MEMORY = 6, TAG_RSDP_OLD = 14, TAG_RSDP_NEW = 15, TAG_EFI_MEMORY = 17 };
#define RSDP_OLD_SIZE 20u

struct tag {
    uint32_t type, size; // with these two; the next tag begins at the next multiple of 8
};
struct memory_tag { // also of EFI's memory map, with descriptors instead of entries
    struct tag tag;
    uint32_t entry_size, version;
    char entries[];
};
struct module_tag {
    struct tag tag;
    uint32_t start, end;
};
struct efi_descriptor { // UEFI 2.10, 7.2.3
    uint32_t type, reserved;
    uint64_t address, virtual_address, pages, attributes;
};
_Static_assert(sizeof(struct efi_descriptor) == 40, "EFI_MEMORY_DESCRIPTOR");
#define EFI_PAGE_SHIFT 12

// Loader's code and data, boot services' code and data (they have ended), and what was free.
static bool efi_is_ram(uint32_t type) { return (type >= 1 && type <= 4) || type == 7; }

// One entry in the form of a struct boot_memory_range. False: nothing that can be described.
static bool entry_get(const char *entry, bool efi, struct boot_memory_range *out) {
    if (!efi) {
        memcpy(out, entry, sizeof(*out));
        return true;
    }
    struct efi_descriptor d;
    memcpy(&d, entry, sizeof(d));
    if (d.pages > UINT64_MAX >> EFI_PAGE_SHIFT)
        return false;
    *out = (struct boot_memory_range){d.address, d.pages << EFI_PAGE_SHIFT, efi_is_ram(d.type) ? BOOT_MEMORY_RAM : 2, 0};
    return true;
}

// The map becomes one of boot_memory_range where it lies (an entry is at least as large), with neighbours of one kind put together:
// firmware's maps have many.
static bool take_memory_map(struct boot_info *b, struct memory_tag *t, bool efi, uint64_t limit) {
    uint32_t least = efi ? sizeof(struct efi_descriptor) : sizeof(struct boot_memory_range), n = 0;
    if (t->tag.size < sizeof(*t) || t->entry_size < least || t->entry_size % 8)
        return false;
    uint32_t count = (t->tag.size - (uint32_t)sizeof(*t)) / t->entry_size;
    struct boot_memory_range *map = (struct boot_memory_range *)t->entries, r;
    for (uint32_t i = 0; i < count; i++) {
        if (!entry_get(t->entries + (size_t)i * t->entry_size, efi, &r))
            continue;
        struct boot_memory_range *last = n ? &map[n - 1] : NULL;
        if (last && last->type == r.type && last->address + last->size == r.address && r.size <= UINT64_MAX - last->size)
            last->size += r.size;
        else
            map[n++] = r;
    }
    boot_set_memory_map(b, map, n, limit);
    return b->ram_count > 0;
}

// `size` bytes of the structure lie behind `tag`.
static void take_rsdp(struct boot_info *b, const struct tag *tag, uint32_t size) {
    memset(b->rsdp_copy, 0, sizeof(b->rsdp_copy));
    memcpy(b->rsdp_copy, tag + 1, MIN(size, (uint32_t)sizeof(b->rsdp_copy)));
    b->rsdp = virt_to_phys(b->rsdp_copy);
}

static void take_cmdline(struct boot_info *b, const struct tag *tag, uint32_t size) {
    const char *text = (const char *)(tag + 1);
    size_t len = strnlen(text, MIN(size, (uint32_t)sizeof(b->cmdline) - 1));
    memcpy(b->cmdline, text, len);
    b->cmdline[len] = '\0';
}

bool boot_parse_multiboot(struct boot_info *b, void *info, size_t room, uint64_t limit) {
    struct memory_tag *memory = NULL, *efi = NULL;
    bool new_rsdp = false;
    uint32_t total = room >= 8 ? *(const uint32_t *)info : 0;
    if (total < 8 || total > room || total > INFO_MAX)
        return false;
    for (uint32_t at = 8; total - at >= sizeof(struct tag);) {
        struct tag *t = (struct tag *)((char *)info + at);
        if (t->type == TAG_END || t->size < sizeof(*t) || t->size > total - at)
            break;
        uint32_t size = t->size - (uint32_t)sizeof(*t);
        const struct module_tag *m = (const struct module_tag *)t;
        if (t->type == TAG_CMDLINE) {
            take_cmdline(b, t, size);
        } else if (t->type == TAG_MODULE && t->size >= sizeof(*m) && !b->initrd_end && m->start && m->start < m->end) {
            b->initrd_start = m->start;
            b->initrd_end = m->end;
        } else if (t->type == TAG_MEMORY && size >= 8) {
            memory = (struct memory_tag *)t;
        } else if (t->type == TAG_EFI_MEMORY && size >= 8) {
            efi = (struct memory_tag *)t;
        } else if (size >= RSDP_OLD_SIZE && (t->type == TAG_RSDP_NEW || (t->type == TAG_RSDP_OLD && !new_rsdp))) {
            take_rsdp(b, t, t->type == TAG_RSDP_NEW ? size : RSDP_OLD_SIZE);
            new_rsdp |= t->type == TAG_RSDP_NEW;
        }
        uint32_t step = ALIGN_UP(t->size, 8u);
        if (step > total - at || step == 0)
            break;
        at += step;
    }
    return (memory && take_memory_map(b, memory, false, limit)) || (efi && take_memory_map(b, efi, true, limit));
}
