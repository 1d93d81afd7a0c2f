// Waits of TCP within the machine that end by themselves: connect(2) to a full queue (ETIMEDOUT, when Linux would have sent its last SYN), and
// TCP_DEFER_ACCEPT. One timer for all of them; they are few, and looked at one by one when it runs. Under the core lock.
#include "kernel/threads/deferred.h"
#include "kernel/time.h"
#include "net/inet/tcp.h"

#define MOST_SECONDS 120u // between two retransmissions: TCP_RTO_MAX

static struct list impatient = LIST_INIT(impatient); // by patience_link
static nsec_t armed = NSEC_MAX;

static void run(struct deferred *d);
static struct deferred work = {.fn = run};
static void expired(struct timer *t) { deferred_raise(&work); }
static struct timer timer;

unsigned tcp_retries_seconds(unsigned n) {
    unsigned seconds = 0;
    for (unsigned i = 0; i <= n; i++)
        seconds += i < 7 ? 1u << i : MOST_SECONDS;
    return seconds;
}

static void arm(nsec_t at) {
    if (at >= armed)
        return;
    if (!timer.fn)
        timer_init(&timer, expired);
    armed = at;
    timer_add(&timer, at);
}

void tcp_patience_begin(struct tcp_socket *t, nsec_t until) {
    list_remove(&t->patience_link);
    list_push_back(&impatient, &t->patience_link);
    t->patience = until;
    arm(until);
}

void tcp_patience_end(struct tcp_socket *t) { list_remove(&t->patience_link); }

// Its time is over. What is to be dropped without the lock goes to the list.
static void over(struct tcp_socket *t, struct list *dropped) {
    if (t->state == TCPS_SYN_SENT) {
        tcp_wait_end(t);
        tcp_socket_end(t, ETIMEDOUT);
    } else if (t->state == TCPS_CLOSE) {
        tcp_wait_end(t);
        list_push_back(dropped, &t->accept_link);
    } else {
        tcp_first_byte(t);
    }
}

static void run(struct deferred *d) {
    struct tcp_socket *t, *following;
    struct list dropped = LIST_INIT(dropped), due = LIST_INIT(due);
    net_lock();
    nsec_t now = time_monotonic(), next = NSEC_MAX;
    armed = NSEC_MAX;
    list_for_each_safe (t, following, &impatient, patience_link) {
        if (t->patience > now) {
            next = MIN(next, t->patience);
            continue;
        }
        list_remove(&t->patience_link);
        list_push_back(&due, &t->patience_link);
    }
    while (!list_empty(&due)) { // one may take others with it
        t = list_first(&due, struct tcp_socket, patience_link);
        list_remove(&t->patience_link);
        over(t, &dropped);
    }
    if (next != NSEC_MAX)
        arm(next);
    net_unlock();
    while (!list_empty(&dropped)) {
        t = list_first(&dropped, struct tcp_socket, accept_link);
        list_remove(&t->accept_link);
        tcp_drop(t);
    }
}
