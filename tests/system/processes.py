"""Process 1 and the others: what only the first process of a machine can show, so that Linux is not asked."""
from harness import busybox, check, compiled, knarr, test


def shell(script, *options):
    return knarr(*options, busybox(), "sh", "-c", script)


for cpus in ["1", "2"]:

    @test(f"init/spared/{cpus}cpus")
    def spared(cpus=cpus):
        """Process 1 gets from the others only what it handles."""
        got = shell("(for s in KILL STOP TERM USR1 HUP SEGV TSTP; do kill -$s 1; done; kill -TERM 0; kill -KILL -1); wait; echo alive",
                    "--cpus", cpus)
        check((got.status, got.stdout) == (0, b"alive\n"), f"{got.status} {got.stdout!r} {got.stderr!r}")
        got = shell("trap 'echo handled; exit 3' TERM; (kill -TERM 1) & wait; wait; echo not reached", "--cpus", cpus)
        check((got.status, got.stdout) == (3, b"handled\n"), f"{got.status} {got.stdout!r} {got.stderr!r}")


@test("init/kills-itself")
def kills_itself():
    """What it sends to itself by its number it means."""
    got = shell("kill -TERM $$; echo alive")
    check((got.status, got.stdout) == (128 + 15, b""), f"{got.status} {got.stdout!r}")


@test("init/orphans")
def orphans():
    """Orphans become children of process 1, which can wait for them; zombies among them, too."""
    got = shell("(sh -c 'sleep 0.2; exit 5' & echo child; sleep 0.05) | cat; for i in 1 2 3 4 5; do [ -d /proc/1/task/1/children ]; sleep 0.1; done; "
                "cat /proc/1/task/1/children | wc -w; ls -d /proc/[0-9]* | wc -l")
    check(got.stdout.split()[:1] == [b"child"] and got.status == 0, f"{got.status} {got.stdout!r} {got.stderr!r}")


@test("init/end-stops-all")
def end_stops_all():
    """The machine stops with process 1, whoever still runs."""
    got = shell("sleep 1000 & (while :; do :; done) & exit 42", "--cpus", "2")
    check(got.status == 42, f"{got.status}")


@test("init/clone-parent")
def clone_parent():
    """Process 1 has no parent whose child a new process could be."""
    got = knarr(compiled("proc_init"))
    check(got.stdout == b"clone: EINVAL\nparent 0, session 1, group 1\n", f"{got.stdout!r} {got.stderr!r}")


@test("process/personality")
def personality():
    """ADDR_NO_RANDOMIZE, which setarch and debuggers ask for; nothing else is offered. Where containers forbid it, Linux cannot be asked."""
    got = knarr(compiled("persona", "musl-pie"))
    expected = [b"0", b"-1 EINVAL", b"-1 EINVAL", b"0", b"262144", b"00040000", b"yes", b"262144", b"yes", b"yes"]
    ends = [line.rsplit(b"= ", 1)[-1].rsplit(b": ", 1)[-1] for line in got.stdout.splitlines()]
    check((got.status, ends) == (0, expected), f"{got.status} {got.stdout!r} {got.stderr!r}")
