// Ends in the way that its arguments say: `exit N`, `kill N` (a signal to itself), `thread N` (exit from another thread),
// `last N` (the main thread ends first, then another calls exit), `null`, `overflow`, `abort`, `ud2`, `div`, `write` (to text).
// runner: none
#include "check.h"
#include <pthread.h>
#include <signal.h>

static int number;
static pthread_t main_thread;

static void *exit_from_thread(void *arg)
{
    (void)arg;
    exit(number);
}

static void *exit_last(void *arg)
{
    (void)arg;
    pthread_join(main_thread, NULL);
    exit(number);
}

static long recurse(volatile char *below)
{
    volatile char here[4096];
    here[0] = *below;
    return recurse(here) + here[0];
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "exit";
    number = argc > 2 ? atoi(argv[2]) : 0;
    pthread_t t;
    printf("%s %d\n", how, number);
    fprintf(stderr, "this is stderr\n");
    fflush(stdout);
    if (!strcmp(how, "exit"))
        return number;
    if (!strcmp(how, "kill"))
        kill(getpid(), number);
    if (!strcmp(how, "raise"))
        raise(number);
    if (!strcmp(how, "thread")) {
        pthread_create(&t, NULL, exit_from_thread, NULL);
        pthread_join(t, NULL);
    }
    if (!strcmp(how, "last")) {
        main_thread = pthread_self();
        pthread_create(&t, NULL, exit_last, NULL);
        pthread_exit(NULL);
    }
    if (!strcmp(how, "null"))
        ((void (*volatile)(void))NULL)();
    if (!strcmp(how, "overflow"))
        return (int)recurse("x");
    if (!strcmp(how, "abort"))
        abort();
    if (!strcmp(how, "ud2"))
        __asm__ volatile("ud2");
    if (!strcmp(how, "div")) {
        // Not 1 / x: the compiler knows a way without dividing.
        __asm__ volatile("idivl %0" ::"r"(0), "a"(1), "d"(0));
    }
    if (!strcmp(how, "write"))
        *(volatile char *)main = 1;
    printf("still here\n");
    return 98;
}
