/*
 * Files compressed with zstd, by libzstd, which is loaded when it is first needed. What fails ends the program with one line and STATUS_FAILED.
 */
#pragma once

#include <stdint.h>

/*
 * `size` bytes of `from` from its offset 0 on, compressed to `to`, from where that stands. name is the file's in messages; progress is told how
 * many more bytes were read (or NULL). Returns the compressed size. The same bytes in give the same bytes out.
 */
uint64_t zstd_pack(int from, uint64_t size, int to, const char *name, void (*progress)(uint64_t more));

/*
 * The other way: blocks of zeros become holes. The result must be exactly `size` bytes long: data that says otherwise is refused before it
 * fills the disk.
 */
void zstd_unpack(int from, uint64_t packed, int to, uint64_t size, const char *name, void (*progress)(uint64_t more));
