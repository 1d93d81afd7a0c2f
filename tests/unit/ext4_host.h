/* The host's side of test_ext4*.c, with the C library: images by mkfs.ext4, checks by e2fsck, what debugfs says. */
#ifndef TESTS_UNIT_EXT4_HOST_H
#define TESTS_UNIT_EXT4_HOST_H

#include <stdbool.h>
#include <stddef.h>

/* An image of so many bytes; malloc'ed. NULL: mkfs failed. `options`: "-t ext4 -b 1024", ... `populate`: a shell command that debugfs
 * reads its own commands from, or NULL. */
unsigned char *ext4_host_image(size_t size, const char *options);
/* e2fsck -fn: 0, or its status, and what it said on stderr. */
int ext4_host_check(const unsigned char *data, size_t size);
/* The same after e2fsck -p has replayed the journal. */
int ext4_host_check_replayed(const unsigned char *data, size_t size);
int ext4_host_debugfs(unsigned char *data, size_t size,
                      const char *commands); /* writes back what it changed; 0 or its status */
size_t ext4_host_ask(const unsigned char *data, size_t size, const char *command, char *out,
                     size_t max); /* debugfs -R */
void ext4_host_remove(void);
void ext4_host_save(const char *name, const unsigned char *data, size_t size);
unsigned ext4_host_number(const char *variable, unsigned otherwise); /* of the environment */
#endif
