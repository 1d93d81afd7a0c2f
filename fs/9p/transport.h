// A way to a 9P server: what a driver (virtio-9p) offers to the file system. The user declares, the driver fills in.
// A request is the caller's memory until its `done` was called. Several may be on their way; they end in any order.
#ifndef FS_9P_TRANSPORT_H
#define FS_9P_TRANSPORT_H

#include "kernel/list.h"
#include "kernel/types.h"

struct p9_segment {
    void *data; // in the direct map, physically contiguous
    uint32_t len;
};

struct p9_transfer {
    const struct p9_segment *segments; // first those that the server reads, then those that it writes to
    uint16_t out, in;                  // how many of each; together at most transport.segments_max
    int error;                         // when done: 0, or -EIO: the device is broken, or was while this was on its way
    uint32_t received;                 // when done: bytes written by the server, never more than there was room for
    void (*done)(struct p9_transfer *t); // any context, also interrupts; may submit more; may not sleep
    struct list link;                    // the driver's
    bool queued;                         // the driver's
};

struct p9_transport;
struct p9_transport_ops {
    // Starts a transfer; `done` is called exactly once, perhaps before this returns. Any context. What finds the queue full
    // waits in the driver.
    void (*submit)(struct p9_transport *tr, struct p9_transfer *t);
    // The server does not keep to the protocol: one line in the log, the device is reset and takes nothing any more; all that
    // is on its way ends with -EIO. Any context but from within `done`.
    void (*disable)(struct p9_transport *tr, const char *why);
};

#define P9_TAG_MAX 255
struct p9_transport {
    const struct p9_transport_ops *ops;
    char tag[P9_TAG_MAX + 1]; // the mount tag: what mount(2) names as its source
    uint32_t segments_max;    // in one transfer, at least 16
    bool taken;               // some client has it: a server keeps one session a device
    void *driver;
    struct list link; // of all transports
};

// The driver's: at boot, in thread context.
void p9_transport_register(struct p9_transport *tr);
// The transport with this tag, now taken: ERR_PTR(-ENOENT) there is none, ERR_PTR(-EBUSY) somebody has it.
struct p9_transport *p9_transport_take(const char *tag);
void p9_transport_give_back(struct p9_transport *tr);

#endif
