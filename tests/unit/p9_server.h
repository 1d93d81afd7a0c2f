/* A 9P server in the test, with its own idea of the protocol, behind the table of functions that a driver fills in: p9_server.c.
 * It has a small tree in memory, answers in any order when the client sleeps, and lies when it is told to. */
#ifndef TESTS_UNIT_P9_SERVER_H
#define TESTS_UNIT_P9_SERVER_H

#include "fs/9p/protocol.h"
#include "fs/9p/transport.h"

#define SERVER_NODES 64
#define SERVER_FILE_MAX (300 * 1024)
struct server_node {
    bool used;
    uint32_t mode, uid, gid, nlink;
    uint64_t mtime;
    int parent;
    char name[256];
    uint8_t *data; /* of files and symlinks: SERVER_FILE_MAX bytes */
    uint32_t size, high; /* high: it was written up to there */
};

enum server_lie {
    LIE_NONE,
    LIE_SHORT,    /* fewer bytes than the fields need */
    LIE_EMPTY,    /* nothing at all */
    LIE_TAG,      /* somebody else's */
    LIE_TYPE,     /* another reply */
    LIE_SIZE,     /* longer than what came */
    LIE_COUNT,    /* more data than was asked for */
    LIE_ERROR,    /* an error that is none */
    LIE_FAIL,     /* an honest error: EACCES */
    LIE_GARBAGE,  /* bytes of 0xff behind the header */
    LIES,
};

struct p9_server {
    struct server_node nodes[SERVER_NODES];
    uint64_t requests, by_type[256];
    unsigned in_flight, most_in_flight, disabled;
    unsigned fids; /* that it knows */
    enum server_lie lie;
    int lie_type;       /* of which request; 0: all but Tversion and Tattach */
    int hold_type;      /* requests of this type are not answered until they are flushed; 0: none */
    bool answer_flushed; /* the flushed one is answered first, instead of forgotten */
    bool immediately;   /* answered before submit returns */
    uint32_t msize_limit; /* 0: what is asked for */
    const uint8_t *fuzz; /* what the replies are made wrong with */
    size_t fuzz_left;
};
extern struct p9_server p9_server;

void p9_server_start(void); /* an empty tree, tag "vol0" */
int p9_server_add(int parent, const char *name, uint32_t mode, const void *data, uint32_t size); /* the node's number */
int p9_server_find(int parent, const char *name); /* -1: none */
void p9_server_remove(int node);

/* What the file system wants of the machine besides fs_fakes.c. */
extern bool p9_kill_sleeper; /* the next sleep finds that the thread is being killed */

/* All that a mounted tree answers, good or bad, for the fuzzer: data chooses the lies. Nothing is left behind. */
void p9_case_fuzz(const unsigned char *data, size_t size);

#endif
