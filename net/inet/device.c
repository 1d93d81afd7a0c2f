// The interface that a socket is bound to: SO_BINDTODEVICE, SO_BINDTOIFINDEX.
#include "fs/vfs.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "net/inet/inet.h"
#include <linux/capability.h>

#define INTERFACE_NAME_MAX 16 // IFNAMSIZ

static bool is_inet(const struct socket *s) { return s->family == AF_INET || s->family == AF_INET6; }

int socket_set_interface(struct socket *s, int index) {
    if (!is_inet(s))
        return -ENOPROTOOPT;
    if (inet_of(s)->interface && !capable(CAP_NET_RAW))
        return -EPERM;
    if (index < 0)
        return -EINVAL;
    net_lock();
    inet_of(s)->interface = index;
    net_unlock();
    return 0;
}

int socket_set_interface_name(struct socket *s, const void *value, unsigned len) {
    char name[INTERFACE_NAME_MAX] = "";
    int index = 0;
    if (!is_inet(s))
        return -ENOPROTOOPT;
    memcpy(name, value, MIN(len, (unsigned)sizeof(name) - 1));
    if (name[0]) {
        net_lock();
        struct net_interface *i = net_interface_find_name(name);
        index = i ? i->index : 0;
        net_unlock();
        if (!index)
            return -ENODEV;
    }
    return socket_set_interface(s, index);
}

int socket_get_interface_name(struct socket *s, void *value, unsigned *len) {
    int err = 0;
    if (!is_inet(s))
        return -ENOPROTOOPT;
    net_lock();
    int index = inet_of(s)->interface;
    struct net_interface *i = index ? net_interface_find(index) : NULL;
    if (!index) {
        *len = 0;
    } else if (*len < INTERFACE_NAME_MAX) {
        err = -EINVAL;
    } else if (!i) {
        err = -ENODEV;
    } else {
        *len = strlen(i->name) + 1;
        memcpy(value, i->name, *len);
    }
    net_unlock();
    return err;
}

int socket_get_interface(struct socket *s) { return is_inet(s) ? inet_of(s)->interface : -ENOPROTOOPT; }
