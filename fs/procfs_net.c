// /proc/net, which is a link to /proc/self/net.
#include "fs/procfs.h"
#include "net/unix.h"

static int show_unix(struct seqbuf *s, struct proc_ref *r) { return unix_show(s); }

const struct proc_entry proc_net_entries[] = {
    PROC_FILE("unix", show_unix),
    {.name = NULL},
};
