/*
 * Compression; see the header.
 */
#include "tools/ship/zstd.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "tools/common.h"

#define LIBRARY "libzstd.so.1"

enum { BLOCK = 1 << 20, HOLE = 4096, LEVEL = 3 };

#define ZSTD_FUNCTIONS(USE)                                                                                            \
    USE(ZSTD_createCCtx)                                                                                               \
    USE(ZSTD_freeCCtx)                                                                                                 \
    USE(ZSTD_CCtx_setParameter)                                                                                        \
    USE(ZSTD_compressStream2)                                                                                          \
    USE(ZSTD_createDCtx)                                                                                               \
    USE(ZSTD_freeDCtx)                                                                                                 \
    USE(ZSTD_decompressStream)                                                                                         \
    USE(ZSTD_isError)                                                                                                  \
    USE(ZSTD_getErrorName)

static struct {
#define DECLARE(function) __typeof__(function) *function;
    ZSTD_FUNCTIONS(DECLARE)
#undef DECLARE
} lib;

static void load_library(void) {
    if (lib.ZSTD_createCCtx)
        return;
    void *library = dlopen(LIBRARY, RTLD_NOW);

    if (!library)
        die(STATUS_FAILED, "compression needs %s (Debian: apt-get install libzstd1)", LIBRARY);
#define LOAD(function)                                                                                                 \
    if (!(lib.function = (__typeof__(function) *)dlsym(library, #function)))                                           \
        die(STATUS_FAILED, "%s has no %s", LIBRARY, #function);
    ZSTD_FUNCTIONS(LOAD)
}

static size_t read_block(int fd, void *block, uint64_t offset, uint64_t left, const char *name) {
    ssize_t got;

    do {
        got = pread(fd, block, left < BLOCK ? (size_t)left : BLOCK, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    if (got <= 0)
        die(STATUS_FAILED, "%s: %s", name, got < 0 ? strerror(errno) : "it has become shorter");
    return (size_t)got;
}

uint64_t zstd_pack(int from, uint64_t size, int to, const char *name, void (*progress)(uint64_t more)) {
    load_library();
    ZSTD_CCtx *context = lib.ZSTD_createCCtx();
    char *in = xmalloc(BLOCK), *out = xmalloc(BLOCK);
    uint64_t done = 0, written = 0;
    bool ended = false;

    if (!context)
        die(STATUS_FAILED, "out of memory");
    lib.ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, LEVEL);
    lib.ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    while (!ended) {
        size_t got = done < size ? read_block(from, in, done, size - done, name) : 0;
        ZSTD_inBuffer input = {.src = in, .size = got};
        bool last = (done += got) == size, flushed = false;
        while (!flushed) {
            ZSTD_outBuffer output = {.dst = out, .size = BLOCK};
            size_t left = lib.ZSTD_compressStream2(context, &output, &input, last ? ZSTD_e_end : ZSTD_e_continue);
            if (lib.ZSTD_isError(left))
                die(STATUS_FAILED, "%s: compressing: %s", name, lib.ZSTD_getErrorName(left));
            if (!write_all(to, out, output.pos))
                die(STATUS_FAILED, "a compressed copy of %s: %s", name, strerror(errno));
            written += output.pos;
            flushed = last ? left == 0 : input.pos == input.size;
            ended = last && left == 0;
        }
        if (progress)
            progress(got);
    }
    lib.ZSTD_freeCCtx(context);
    free(in);
    free(out);
    return written;
}

/* Writes what is not zeros. */
static void put(int to, const char *data, size_t size, uint64_t at, const char *name) {
    static const char zeros[HOLE];

    while (size > 0) {
        size_t piece = HOLE - at % HOLE;
        piece = piece < size ? piece : size;
        if (memcmp(data, zeros, piece) != 0) {
            ssize_t got = pwrite(to, data, piece, (off_t)at);
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0)
                die(STATUS_FAILED, "%s: %s", name, strerror(got < 0 ? errno : ENOSPC));
            piece = (size_t)got;
        }
        data += piece;
        at += piece;
        size -= piece;
    }
}

void zstd_unpack(int from, uint64_t packed, int to, uint64_t size, const char *name, void (*progress)(uint64_t more)) {
    load_library();
    ZSTD_DCtx *context = lib.ZSTD_createDCtx();
    char *in = xmalloc(BLOCK), *out = xmalloc(BLOCK);
    uint64_t taken = 0, made = 0;
    size_t hint = 1;

    if (!context)
        die(STATUS_FAILED, "out of memory");
    while (taken < packed) {
        ZSTD_inBuffer input = {.src = in, .size = read_block(from, in, taken, packed - taken, name)};
        taken += input.size;
        bool full = false;
        while (input.pos < input.size || full) {
            ZSTD_outBuffer output = {.dst = out, .size = BLOCK};
            hint = lib.ZSTD_decompressStream(context, &output, &input);
            if (lib.ZSTD_isError(hint))
                die(STATUS_FAILED, "%s: damaged: %s", name, lib.ZSTD_getErrorName(hint));
            if (output.pos > size - made)
                die(STATUS_FAILED, "%s: it is larger than its description says", name);
            put(to, out, output.pos, made, name);
            made += output.pos;
            full =
                output.pos == output.size && hint != 0; /* at 0 a frame has ended, and another call would begin one */
            if (progress)
                progress(output.pos);
        }
    }
    if (hint != 0 || made != size)
        die(STATUS_FAILED, "%s: it ends too early", name);
    if (ftruncate(to, (off_t)size) != 0) /* it may end with a hole */
        die(STATUS_FAILED, "%s: %s", name, strerror(errno));
    lib.ZSTD_freeDCtx(context);
    free(in);
    free(out);
}
