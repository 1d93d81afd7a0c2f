// The files of /proc/net and /proc/sys/net: what they show comes from net/.
#ifndef FS_PROCFS_NET_H
#define FS_PROCFS_NET_H

#include "fs/procfs.h"
#include "net/inet/inet.h"

void seq_pad_line(struct seqbuf *s, size_t from,
                  size_t width); // fills the line that began at `from` with blanks, and ends it
// procfs_net_sockets.c
int proc_show_tcp(struct seqbuf *s, struct proc_ref *r);
int proc_show_tcp6(struct seqbuf *s, struct proc_ref *r);
int proc_show_udp(struct seqbuf *s, struct proc_ref *r);
int proc_show_udp6(struct seqbuf *s, struct proc_ref *r);
int proc_show_udplite(struct seqbuf *s, struct proc_ref *r);
int proc_show_udplite6(struct seqbuf *s, struct proc_ref *r);
int proc_show_raw(struct seqbuf *s, struct proc_ref *r);
int proc_show_raw6(struct seqbuf *s, struct proc_ref *r);
int proc_show_icmp(struct seqbuf *s, struct proc_ref *r);
int proc_show_icmp6(struct seqbuf *s, struct proc_ref *r);
int proc_show_sockstat(struct seqbuf *s, struct proc_ref *r);
int proc_show_sockstat6(struct seqbuf *s, struct proc_ref *r);
int proc_show_protocols(struct seqbuf *s, struct proc_ref *r);
// procfs_net_counters.c
int proc_show_snmp(struct seqbuf *s, struct proc_ref *r);
int proc_show_snmp6(struct seqbuf *s, struct proc_ref *r);
int proc_show_netstat(struct seqbuf *s, struct proc_ref *r);
// procfs_sysctl_net.c
extern const struct proc_entry proc_sys_net_entries[];

#endif
