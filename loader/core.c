// Core files: which memory of a process that dies goes into one, and the writing. core(5). Memory that was never touched stays a
// hole of the file and is not made for it. The process's other threads stand still; who shares its memory otherwise may change it
// meanwhile, and then the file says what was found.
#include "loader/core.h"
#include "fs/vfs.h"
#include "kernel/log.h"
#include "kernel/memory/aspace.h"
#include "kernel/memory/slab.h"
#include "kernel/process/core.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include <linux/capability.h>
#include <linux/elf.h>

// /proc/PID/coredump_filter
#define FILTER_ANON_PRIVATE 0x01
#define FILTER_ANON_SHARED 0x02
#define FILTER_FILE_PRIVATE 0x04
#define FILTER_FILE_SHARED 0x08
#define FILTER_ELF_HEADERS 0x10

struct writer {
    struct file *file;
    uint64_t pos, left; // bytes that RLIMIT_CORE still allows; holes cost nothing
};

// --- What goes in ---

static bool deleted(const char *name) {
    size_t n = strlen(name);
    return n > 10 && !strcmp(name + n - 10, " (deleted)");
}

static void choose(const struct core_image *image, struct core_segment *g, const struct vma_info *v) {
    unsigned filter = process_current()->core_filter;
    uint64_t size = v->end - v->start;
    struct aspace_usage usage;

    if (v->vm_flags & VMA_VDSO) {
        g->dumped = size;
    } else if (v->vm_flags & VMA_NODUMP) {
        g->dumped = 0;
    } else if (v->flags & MAP_SHARED) {
        bool anonymous = !g->file || deleted(v->name);
        g->dumped = filter & (anonymous ? FILTER_ANON_SHARED : FILTER_FILE_SHARED) ? size : 0;
    } else if (!g->file) {
        g->dumped = filter & FILTER_ANON_PRIVATE ? size : 0;
    } else {
        aspace_usage(process_current()->aspace, v->start, v->end, &usage);
        if ((usage.anonymous && (filter & FILTER_ANON_PRIVATE)) || (filter & FILTER_FILE_PRIVATE))
            g->dumped = size;
        else
            g->header_only = (filter & FILTER_ELF_HEADERS) && v->offset == 0 && (v->prot & PROT_READ);
    }
}

static bool add_segment(void *ctx, const struct vma_info *v) {
    struct core_image *image = ctx;
    if (image->count == image->capacity)
        return false;
    struct core_segment *g = &image->segments[image->count++];
    *g = (struct core_segment){.start = v->start, .end = v->end, .offset = v->offset, .prot = v->prot};
    g->file = v->name[0] == '/';
    g->anonymous = !g->file && !(v->vm_flags & VMA_VDSO);
    choose(image, g, v);
    if (g->file) {
        image->file_count++;
        seq_write(&image->names, v->name, strlen(v->name) + 1);
    }
    return true;
}

static bool begins_with_elf(uaddr_t addr) {
    char magic[SELFMAG];
    return aspace_access(process_current()->aspace, addr, magic, SELFMAG, false, true) == SELFMAG &&
           !memcmp(magic, ELFMAG, SELFMAG);
}

static bool collect(struct core_image *image) {
    struct aspace *as = process_current()->aspace;
    image->capacity = READ_ONCE(as->vma_count) + 16;
    image->segments = kmalloc(image->capacity * sizeof(*image->segments));
    if (!image->segments)
        return false;
    aspace_each(as, add_segment, image);
    for (unsigned i = 0; i < image->count; i++) {
        struct core_segment *g = &image->segments[i];
        if (g->header_only && begins_with_elf(g->start))
            g->dumped = PAGE_SIZE;
    }
    return !image->names.failed;
}

// --- Writing ---

static bool emit(struct writer *w, const void *data, size_t n) {
    if (n > w->left || file_write_kernel(w->file, data, n, &w->pos) != (int64_t)n)
        return false;
    w->left -= n;
    return true;
}

static bool emit_headers(struct writer *w, const struct core_image *image, size_t note_size) {
    uint64_t at = sizeof(Elf64_Ehdr) + (image->count + 1) * sizeof(Elf64_Phdr);
    Elf64_Ehdr eh = {.e_type = ET_CORE, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_phoff = sizeof(eh)};
    Elf64_Phdr ph = {.p_type = PT_NOTE, .p_offset = at, .p_filesz = note_size, .p_align = 4};

    memcpy(eh.e_ident, ELFMAG, SELFMAG);
    eh.e_ident[EI_CLASS] = ELFCLASS64;
    eh.e_ident[EI_DATA] = ELFDATA2LSB;
    eh.e_ident[EI_VERSION] = EV_CURRENT;
    eh.e_ehsize = sizeof(eh);
    eh.e_phentsize = sizeof(ph);
    eh.e_phnum = (uint16_t)(image->count + 1); // there are fewer mappings than fit: VMA_MAX
    if (!emit(w, &eh, sizeof(eh)) || !emit(w, &ph, sizeof(ph)))
        return false;
    at = ALIGN_UP(at + note_size, PAGE_SIZE);
    for (unsigned i = 0; i < image->count; i++) {
        const struct core_segment *g = &image->segments[i];
        ph = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = at, .p_vaddr = g->start, .p_align = PAGE_SIZE};
        ph.p_filesz = g->dumped;
        ph.p_memsz = g->end - g->start;
        ph.p_flags =
            (g->prot & PROT_READ ? PF_R : 0) | (g->prot & PROT_WRITE ? PF_W : 0) | (g->prot & PROT_EXEC ? PF_X : 0);
        if (!emit(w, &ph, sizeof(ph)))
            return false;
        at += g->dumped;
    }
    return true;
}

static bool emit_segment(struct writer *w, const struct core_segment *g, void *page) {
    struct aspace *as = process_current()->aspace;
    uint64_t end = w->pos + g->dumped;
    for (uaddr_t addr = g->start; addr < g->start + g->dumped; addr += PAGE_SIZE) {
        uint8_t present = 1;
        if (READ_ONCE(process_current()->core_interrupted))
            return false;
        if (g->anonymous)
            aspace_resident(as, addr, 1, &present);
        if ((present & 1) && aspace_access(as, addr, page, PAGE_SIZE, false, true) == (long)PAGE_SIZE) {
            if (!emit(w, page, PAGE_SIZE))
                return false;
        } else {
            w->pos += PAGE_SIZE;
        }
        sched_point();
    }
    w->pos = end;
    return true;
}

// True: at least the beginning is there.
static bool write_core(struct file *f, struct core_image *image) {
    struct writer w = {.file = f, .left = process_current()->limits[RLIMIT_CORE].rlim_cur};
    struct seqbuf notes = {0};
    void *page = kmalloc(PAGE_SIZE);
    bool begun = false;

    if (page && collect(image)) {
        core_notes(&notes, image);
        begun = !notes.failed && emit_headers(&w, image, notes.len) && emit(&w, notes.data, notes.len);
        bool complete = begun;
        w.pos = ALIGN_UP(w.pos, PAGE_SIZE);
        for (unsigned i = 0; complete && i < image->count; i++)
            complete = emit_segment(&w, &image->segments[i], page);
        if (complete)
            vfs_truncate(f->inode, w.pos); // holes at the end
        else if (begun)
            log_warn("process %d: its core file is cut short at %lu bytes", process_current()->pid, w.pos);
    }
    seq_free(&notes);
    kfree(page);
    return begun;
}

// --- The file ---

static bool may_use(const struct file *f) {
    const struct inode *inode = f->inode;
    return S_ISREG(inode->mode) && inode->nlink == 1 && inode->uid == current_cred()->fsuid &&
           (inode->mode & 0677) == 0600;
}

static struct file *open_core(const char *name, bool safe) {
    if (safe)
        vfs_unlink(AT_FDCWD, name, false); // nobody may have prepared it
    struct file *f = vfs_open(AT_FDCWD, name, O_CREAT | O_RDWR | O_NOFOLLOW | O_LARGEFILE | (safe ? O_EXCL : 0), 0600);
    if (IS_ERR(f))
        return f;
    int err = may_use(f) ? vfs_truncate(f->inode, 0) : -EPERM;
    if (err < 0) {
        file_unref(f);
        return ERR_PTR(err);
    }
    return f;
}

bool core_write(int sig, const siginfo_t *info) {
    const struct process *p = process_current();
    struct core_image image = {.sig = sig, .info = info};
    struct seqbuf name = {0};
    bool dumped = false, safe = p->dumpable == 2;

    if (core_name(&name, sig)) {
        log_warn("process %d: no core dump: programs in /proc/sys/kernel/core_pattern are not supported", p->pid);
    } else if (name.failed || (safe && name.data[0] != '/')) {
        log_warn("process %d: no core dump: %s", p->pid,
                 name.failed ? "no memory" : "core_pattern is no absolute path");
    } else {
        struct credentials root = p->cred; // who may not be looked at by his user gets root's file
        root.fsuid = 0;
        if (safe)
            thread_current()->borrowed_cred = &root;
        struct file *f = open_core(name.data, safe);
        credentials_use_own();
        if (IS_ERR(f)) {
            log_info("process %d: no core dump: %s: error %ld", p->pid, name.data, -PTR_ERR(f));
        } else {
            dumped = write_core(f, &image);
            file_unref(f);
        }
    }
    kfree(image.segments);
    seq_free(&image.names);
    seq_free(&name);
    return dumped;
}
