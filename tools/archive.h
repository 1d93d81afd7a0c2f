/*
 * libarchive, loaded when an archive is to be read and not before: with all that it needs itself it would double the time that knarr
 * takes to start. Each function is called through a pointer of its name: lib.archive_read_new().
 */
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include "tools/common.h"

#define ARCHIVE_FUNCTIONS(USE)                                                                                         \
    USE(archive_read_new)                                                                                              \
    USE(archive_read_support_filter_all)                                                                               \
    USE(archive_read_support_format_tar)                                                                               \
    USE(archive_read_support_format_cpio)                                                                              \
    USE(archive_read_set_options)                                                                                      \
    USE(archive_read_support_format_raw)                                                                               \
    USE(archive_read_support_filter_gzip)                                                                              \
    USE(archive_read_support_filter_zstd)                                                                              \
    USE(archive_read_support_filter_xz)                                                                                \
    USE(archive_read_support_filter_bzip2)                                                                             \
    USE(archive_read_support_format_empty)                                                                             \
    USE(archive_read_header_position)                                                                                  \
    USE(archive_read_open)                                                                                             \
    USE(archive_read_open_fd)                                                                                          \
    USE(archive_read_next_header)                                                                                      \
    USE(archive_read_data)                                                                                             \
    USE(archive_read_data_block)                                                                                       \
    USE(archive_read_free)                                                                                             \
    USE(archive_error_string)                                                                                          \
    USE(archive_format)                                                                                                \
    USE(archive_filter_code)                                                                                           \
    USE(archive_entry_pathname)                                                                                        \
    USE(archive_entry_hardlink)                                                                                        \
    USE(archive_entry_symlink)                                                                                         \
    USE(archive_entry_size)                                                                                            \
    USE(archive_entry_mode)                                                                                            \
    USE(archive_entry_uid)                                                                                             \
    USE(archive_entry_gid)                                                                                             \
    USE(archive_entry_mtime)                                                                                           \
    USE(archive_entry_mtime_nsec)                                                                                      \
    USE(archive_entry_rdevmajor)                                                                                       \
    USE(archive_entry_rdevminor)                                                                                       \
    USE(archive_entry_xattr_reset)                                                                                     \
    USE(archive_entry_xattr_next)                                                                                      \
    USE(archive_entry_sparse_reset)                                                                                    \
    USE(archive_entry_sparse_next)

extern struct archive_library {
#define DECLARE(function) __typeof__(function) *function;
    ARCHIVE_FUNCTIONS(DECLARE)
#undef DECLARE
} lib;

/*
 * Opens a file for reading in several passes: what is not a regular file (a pipe, a terminal) is copied into an unlinked temporary one
 * first. Dies when it cannot. Returns the descriptor.
 */
int archive_open_input(const char *file);

/* A reader that knows no format and has no file yet; the library is loaded. */
struct archive *archive_new(void);

/* A reader at the beginning of such a file, for tar and cpio in any compression. Dies when it is none of these. */
struct archive *archive_start(int fd, const char *file);

/* The same from a place on, which is the beginning of a member's header. The file's offset is the reader's. */
struct archive *archive_start_at(int fd, uint64_t position, const char *file);

/* A reader whose only member is all that the file has, uncompressed. */
struct archive *archive_start_raw(int fd, const char *file);

/* The next member, or NULL at the end; dies when the archive is damaged. */
struct archive_entry *archive_member(struct archive *archive, const char *file);

/* Ends the program with what the archive's reader says. */
void archive_fail(struct archive *archive, const char *file) NORETURN;

/* Whether it is a cpio archive. */
bool archive_is_cpio(int fd, const char *file);
