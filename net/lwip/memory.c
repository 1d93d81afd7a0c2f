// lwIP's memory: its pools are caches of the slab allocator, its heap is kmalloc. All together may use a share of the machine's RAM: beyond it an
// allocation fails, which lwIP answers by dropping a packet, so that no flood can take the machine's memory. Received pages are counted
// apart: they are bounded by the sockets' buffers, and by what may wait out of order. Under the core lock.
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "lwip/memp.h"
#include "net/lwip/hooks.h"
#include "net/lwip/stack.h"

// What memp_std.h lists the sizes of.
#include "lwip/etharp.h"
#include "lwip/igmp.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/mld6.h"
#include "lwip/pbuf.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/raw.h"
#include "lwip/udp.h"

static struct slab_cache caches[MEMP_MAX] = {
#define LWIP_MEMPOOL(pool, num, size, desc) SLAB_CACHE("lwip_" #pool, ALIGN_UP((uint32_t)(size), 8), 8),
#include "lwip/priv/memp_std.h"
};

static uint64_t used, limit; // bytes
uint64_t net_received_bytes;

#define RECEIVED_SOME 16 // parts of the memory
#define RECEIVED_MUCH 8
#define OUT_OF_ORDER_MOST 1024
#define OUT_OF_ORDER_FEW 16

static bool take(size_t size) {
    if (unlikely(!limit))
        limit = MAX(page_total() * PAGE_SIZE / 8, 512UL * 1024);
    if (unlikely(used + size > limit)) {
        log_once(LOG_WARN, "network: its share of the memory is used up, packets are dropped");
        return false;
    }
    used += size;
    return true;
}

// Objects that a timer looks after are counted, and one more may need the timer. TCP's have their own way.
#define FIRST_TIMED (MEMP_TCP_SEG + 1)
_Static_assert((int)MEMP_REASSDATA >= FIRST_TIMED && (int)MEMP_ARP_QUEUE >= FIRST_TIMED && (int)MEMP_IGMP_GROUP >= FIRST_TIMED &&
                   (int)MEMP_PBUF > MEMP_MLD6_GROUP,
               "order of memp_std.h");
static unsigned counts[MEMP_MAX];

static void note(memp_t type, int change) {
    counts[type] += (unsigned)change;
    if (change > 0 && type < MEMP_PBUF && type != MEMP_FRAG_PBUF)
        net_timers_wanted = true;
}

unsigned net_memory_count(int type) { return counts[type]; }

static void *allocate(memp_t type) {
    struct slab_cache *c = &caches[type];
    if (!take(c->size))
        return NULL;
    void *p = slab_alloc(c);
    if (!p)
        used -= c->size;
    else if (type >= FIRST_TIMED)
        note(type, 1);
    return p;
}

void *memp_malloc(memp_t type) {
    void *p = allocate(type);
    while (unlikely(!p) && type == MEMP_TCP_PCB && tcp_bucket_reclaim())
        p = allocate(type);
    return p;
}

void memp_free(memp_t type, void *p) {
    if (!p)
        return;
    used -= caches[type].size;
    if (type >= FIRST_TIMED)
        note(type, -1);
    slab_free(&caches[type], p);
}

// Blocks of the heap begin with their size.
struct block {
    uint64_t size;
    char data[];
};

void *mem_malloc(mem_size_t size) {
    size_t whole = sizeof(struct block) + size;
    if (!take(whole))
        return NULL;
    struct block *b = kmalloc(whole);
    if (!b) {
        used -= whole;
        return NULL;
    }
    b->size = whole;
    return b->data;
}

void *mem_calloc(mem_size_t count, mem_size_t size) {
    void *p = mem_malloc(count * size); // lwIP's own, small numbers
    if (p)
        memset(p, 0, count * size);
    return p;
}

void mem_free(void *p) {
    if (!p)
        return;
    struct block *b = container_of(p, struct block, data);
    used -= b->size;
    kfree(b);
}

void *mem_trim(void *p, mem_size_t size) { return p; } // nothing is gained

// The pbufs that a connection may keep behind a gap: few and then none when all that was received takes much of the memory, so that peers
// which leave gaps on purpose cannot take it from those that do not.
u16_t net_out_of_order_limit(void) {
    uint64_t memory = page_total() * PAGE_SIZE;
    if (likely(net_received_bytes <= memory / RECEIVED_SOME))
        return OUT_OF_ORDER_MOST;
    return net_received_bytes <= memory / RECEIVED_MUCH ? OUT_OF_ORDER_FEW : 0;
}

void mem_init(void) {}
void memp_init(void) {}
