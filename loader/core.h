// Core files (ELF, ET_CORE): core.c writes them, core_notes.c says what is in their notes, core_name.c how they are called.
#ifndef LOADER_CORE_H
#define LOADER_CORE_H

#include "fs/seqbuf.h"
#include "kernel/process/signal.h"
#include "kernel/types.h"

// One mapping.
struct core_segment {
    uaddr_t start, end;
    uint64_t offset; // in its file
    uint64_t dumped; // bytes of it that the file has
    unsigned prot;
    bool file, anonymous; // shows a file; shows memory that may be absent
    bool header_only;     // only if it begins with an ELF header, and then one page
};
struct core_image {
    int sig;
    const siginfo_t *info;
    struct core_segment *segments;
    unsigned count, capacity;
    unsigned file_count;
    struct seqbuf names; // of the files of those segments that show one, each with its NUL
};

// All notes of the current process, whose other threads stand still. Memory that runs out shows in notes->failed.
void core_notes(struct seqbuf *notes, const struct core_image *image);
// The file's name after /proc/sys/kernel/core_pattern, in a seqbuf with its NUL; true: it is a program to be started.
bool core_name(struct seqbuf *name, int sig);
// Writes the core file of the current process: core_write_hook of kernel/process/core.h.
bool core_write(int sig, const siginfo_t *info);

#endif
