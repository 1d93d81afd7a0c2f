// Mount options.
#ifndef FS_EXT4_SUPER_H
#define FS_EXT4_SUPER_H

#include "kernel/types.h"

// Words separated by commas that ask for what this file system does anyway, or what changes nothing that a program sees. False: there
// is another one (named in the log).
bool ext4_options_known(const char *options);

#endif
