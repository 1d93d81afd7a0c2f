"""The kernel that checks itself (docs/debugging.md): it must find defects made on purpose, and find none while programs work."""
import re
import shlex

import harness
from harness import BUILD, TOP, check, compare, compiled, directives, execute, knarr, linux, once, tail, test

CHECK_STATUS = 121
_made = []


def kernel():
    """The checked kernel, made when it is missing or old: once in a run of the tests."""
    with once("checked kernel"):
        if not _made:
            done = execute(["make", "-C", TOP, f"BUILD={BUILD}", "checked"], timeout=600)
            _made.append("" if done.status == 0 else "make checked: " + tail(done.stderr, 10))
    check(not _made[0], _made[0])
    return BUILD / "knarr.checked.elf"


def silent(outcome):
    """Nothing but what a boot tells was said by the kernel."""
    lines = [line for line in outcome.stderr.decode("utf-8", "replace").splitlines() if re.match(r"(error|warning|knarr): ", line)]
    check(not lines, "the kernel said: " + " | ".join(lines[:12]))


# crash=WORD, and what the report must say.
DEFECTS = {
    "lock-order": r"lock order: mutex one\+0 while mutex two\+0 is held",
    "lock-spin-order": r"lock order: spinlock spin\+0 while spinlock other",
    "lock-interrupt": r"handler_spin\+0 is taken by interrupt handlers \(in_handler.*and with interrupts on \(lock_interrupt",
    "lock-sleep": r"lock_sleep\+\S+ may sleep with a spinlock held",
    "lock-fault": r"lock_fault\+\S+ may sleep with a spinlock held",
    "lock-cross-call": r"spinlock spin\+0 is held while other CPUs are waited for \(lock_cross_call\S+ and taken with interrupts off",
    "lock-recursion": r"mutex one\+0 is taken twice, the second time in lock_recursion",
    "lock-owner": r"spinlock spin\+0 is released in lock_owner\S+ by a CPU that does not hold it",
    "lock-freed": r"is freed while the lock .* in it is held, taken in lock_freed",
    "lock-exit": r"locks are held at the end of a thread",
    "use-after-free": r"use after free: object self-test \S+, byte 17 of 40; allocated by use_after_free\S+, freed by use_after_free",
    "use-after-free-page": r"a free page was written to at \S+; it was freed by use_after_free_page",
    "overrun": r"overrun: object kmalloc-128 \S+, byte 100 of 100; allocated by overrun",
    "double-free": r"freed twice: object self-test",
    "double-free-page": r"page \S+: a reference of 0",
    "foreign-free": r"foreign_free\S+ frees \S+, which is not the start of an object kmalloc-128",
    "list": r"list: \S+ is removed from between",
    "ref-zero": r"a reference is taken on what has 0 of them",
}


def finds(word, report):
    def function():
        got = knarr("-v", "--kernel", kernel(), "--kernel-arg", f"crash={word}", compiled("hello"))
        text = got.stderr.decode("utf-8", "replace")
        check(got.status == CHECK_STATUS and got.stdout == b"", f"status {got.status}: {tail(got.stderr)}")
        check(re.search(report, text), f"no {report} in {text}")

    return function


for defect, said in DEFECTS.items():
    test(f"checked/finds-{defect}")(finds(defect, said))


def storm(cpus):
    def function():
        got = knarr("-v", "-m", "256M", "--cpus", cpus, "--kernel", kernel(), compiled("storm"), "10", cpus)
        check(got.status == 0 and got.stdout == b"0 errors, every kind of work was done\n",
              f"status {got.status}: {got.stdout.decode()} {tail(got.stderr, 20)}")
        silent(got)

    return function


for count in ["1", "2", "4"]:
    test(f"checked/storm-{count}cpus")(storm(count))


# The guest programs with the most races, compared with Linux as ever.
def same(name, cpus):
    def function():
        program = compiled(name)
        args = shlex.split(directives(harness.GUEST / f"{name}.c").get("args", ""))
        got = knarr("-v", "-m", "128M", "--cpus", cpus, "--kernel", kernel(), program, *args)
        compare(linux([program, *args]), got)
        check(not re.search(r"(?m)^error: ", got.stderr.decode("utf-8", "replace")), "the kernel said: " + tail(got.stderr, 12))

    return function


for racy in ["pty", "exec_race", "forks", "threads", "futex", "pipes", "poll", "stress", "sysv_sem", "sysv_msg", "mqueue", "inotify_more"]:
    test(f"checked/{racy}-2cpus")(same(racy, "2"))
