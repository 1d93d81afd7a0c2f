// The vDSO in an address space: [vvar], the page that the kernel keeps the clock in, and right behind it [vdso], the image.
// Both show the kernel's own pages, which are never freed, through two backings that hold no state.
#include "kernel/memory/aspace.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "kernel/x86/cpu.h"
#include "loader/loader.h"
#include <linux/elf.h>

extern const uint8_t vdso_image[], vdso_image_end[]; // vdso.S

_Static_assert(sizeof(struct vdso_data) <= PAGE_SIZE, "one page");

static struct page *vvar_get_page(struct backing *b, uint64_t index, bool write) {
    if (index != 0)
        return ERR_PTR(-EFAULT);
    struct page *page = virt_to_page(vdso_data);
    page_ref(page);
    return page;
}

static struct page *image_get_page(struct backing *b, uint64_t index, bool write) {
    if (index >= (uint64_t)(vdso_image_end - vdso_image) / PAGE_SIZE)
        return ERR_PTR(-EFAULT);
    struct page *page = virt_to_page(vdso_image + index * PAGE_SIZE);
    page_ref(page);
    return page;
}

static void vvar_describe(struct backing *b, char *name, size_t size, uint64_t *dev, uint64_t *ino) {
    str_copy(name, "[vvar]", size);
}

static void image_describe(struct backing *b, char *name, size_t size, uint64_t *dev, uint64_t *ino) {
    str_copy(name, "[vdso]", size);
}

static void static_ref(struct backing *b) {}

static const struct backing_ops vvar_ops = {
    .get_page = vvar_get_page, .ref = static_ref, .unref = static_ref, .describe = vvar_describe};
static const struct backing_ops image_ops = {
    .get_page = image_get_page, .ref = static_ref, .unref = static_ref, .describe = image_describe};
static struct backing vvar = {.ops = &vvar_ops, .vmas = LIST_INIT(vvar.vmas)};
static struct backing image = {.ops = &image_ops, .vmas = LIST_INIT(image.vmas)};

static uaddr_t restorer_of(struct process *p) { return vdso_sigreturn(p->aspace); }

uaddr_t vdso_map(struct aspace *as) {
    size_t size = (size_t)(vdso_image_end - vdso_image);
    vdso_data->cpu_in_tsc_aux = cpu_features.rdtscp;
    signal_restorer_hook = restorer_of;

    // Two mappings side by side: the place for both is found by mapping the first over the whole.
    long start = aspace_map(as, 0, PAGE_SIZE + size, PROT_READ, MAP_PRIVATE, &vvar, 0, PROT_READ, VMA_VDSO);
    if (start < 0)
        return 0;
    uaddr_t base = (uaddr_t)start + PAGE_SIZE;
    long r = aspace_map(as, base, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, &image, 0,
                        PROT_READ | PROT_EXEC, VMA_VDSO);
    if (r < 0)
        return 0;
    as->vdso = base;
    return base;
}

uaddr_t vdso_sigreturn(struct aspace *as) {
    // The image's entry point; see vdso.lds.
    return as->vdso ? as->vdso + ((const Elf64_Ehdr *)vdso_image)->e_entry : 0;
}
