"""The virtual machine: sizes of memory, numbers of CPUs, machine types, clocks, the kernel's own options and its death."""
import re
import time

import harness
from harness import busybox, check, compare, compiled, knarr, linux, test


def says_hello(*options):
    got = knarr(*options, compiled("hello"))
    check((got.status, got.stdout, got.stderr) == (0, b"Hello, world!\n", b""),
          f"{' '.join(options)}: status {got.status}, {got.stdout!r}, {harness.tail(got.stderr)}")


for size in ["5M", "6M", "16M", "100M", "4G", "16G", "64G"]:
    test(f"memory/{size}")(lambda size=size: says_hello("-m", size))
test("memory/3G-q35")(lambda: says_hello("-m", "3G", "--machine", "q35"))
test("memory/5G-q35")(lambda: says_hello("-m", "5G", "--machine", "q35", "--cpus", "2"))


@test("memory/seen")
def memory_seen():
    """Most of the memory is the program's."""
    for megabytes in [32, 256]:
        got = knarr("-m", f"{megabytes}M", busybox(), "grep", "-E", "MemTotal|MemAvailable", "/proc/meminfo")
        sizes = [int(n) for n in re.findall(rb"(\d+) kB", got.stdout)]
        check(len(sizes) == 2 and sizes[0] > megabytes * 1024 * 0.9 - 2048 and sizes[1] > sizes[0] * 0.8 - 3072, f"{got.stdout!r}")


for cpus in [1, 2, 4, 8, 32]:

    @test(f"cpus/{cpus}")
    def cpus_seen(cpus=cpus):
        for machine in ["microvm", "q35"]:
            got = knarr("--cpus", str(cpus), "--machine", machine, busybox(), "sh", "-c", "grep -c ^processor /proc/cpuinfo; nproc")
            check(got.stdout == b"%d\n%d\n" % (cpus, cpus), f"{machine}: {got.stdout!r} {got.stderr!r}")


@test("machine/kernel-arg")
def kernel_arg():
    got = knarr("--cpus", "2", "--kernel-arg", "cpus=1", busybox(), "nproc")
    check(got.stdout == b"1\n", f"{got.stdout!r} {got.stderr!r}")
    got = knarr("-v", "--kernel-arg", "no-such-word", compiled("hello"))
    check(got.status == 0 and b"no-such-word" in got.stderr, f"{got.stderr!r}")


@test("machine/aslr")
def aslr():
    """Addresses differ between two runs, and do not with aslr=off."""
    program = compiled("where", "musl-pie")
    runs = [knarr(program).stdout.decode().split() for _ in range(3)]
    check(all(len(r) == 5 for r in runs), f"{runs}")
    for i, what in enumerate(["code", "stack", "heap", "mmap", "vdso"]):
        check(len({r[i] for r in runs}) > 1, f"{what} is always at {runs[0][i]}")
    fixed = [knarr("--kernel-arg", "aslr=off", program).stdout for _ in range(2)]
    check(fixed[0] == fixed[1] and fixed[0], f"{fixed}")


@test("machine/wall-clock")
def wall_clock():
    got = knarr(busybox(), "date", "+%s")
    check(abs(int(got.stdout) - time.time()) < 20, f"{got.stdout!r}, here {time.time()}")
    start = time.monotonic()
    got = knarr(busybox(), "sh", "-c", "a=$(cut -d. -f1 /proc/uptime); sleep 2; b=$(cut -d. -f1 /proc/uptime); echo $((b - a))")
    took = time.monotonic() - start
    check(got.stdout in (b"2\n", b"3\n") and 2 <= took < 20, f"{got.stdout!r} after {took:.1f} s")


@test("machine/tsc-of-1-GHz")
def slow_tsc():
    """Under -icount the time stamp counter runs at 1 GHz; time must be right all the same."""
    got = knarr("--qemu-arg=-icount", "--qemu-arg=shift=0,sleep=off", compiled("where"), "time")
    check(got.stdout == b"right\n", f"{got.stdout!r} {got.stderr!r}")


@test("machine/boot-chart")
def boot_chart():
    got = knarr("-v", "--kernel-arg", "boot=chart", compiled("hello"))
    lines = got.stderr.decode().split("\n")
    check(got.stdout == b"Hello, world!\n" and sum(bool(re.search(r"\d", line)) for line in lines) >= 5, f"{got.stderr!r}")


@test("machine/deterministic")
def deterministic():
    """Under -icount with a fixed seed and clock two runs are the same to the instruction."""
    runs = []
    for _ in range(2):
        args = ["-icount", "shift=0,sleep=off", "-rtc", "base=2020-01-01,clock=vm", "-seed", "1"]
        got = knarr(*[f"--qemu-arg={a}" for a in args], "--accel", "tcg", compiled("where"), "tsc")
        runs.append(got.stdout)
    check(runs[0] and abs(int(runs[0]) - int(runs[1])) < 2000000, f"{runs}")


@test("machine/many-boots")
def many_boots():
    """Twenty boots in a row with two CPUs: none hangs."""
    for i in range(20):
        got = knarr("--cpus", "2", "-m", "64M", compiled("hello"), timeout=30)
        check((got.status, got.stdout) == (0, b"Hello, world!\n"), f"boot {i}: status {got.status} {harness.tail(got.stderr)}")


@test("machine/wild-calls")
def wild_calls():
    """Each call of the table with wild pointers in each place: the kernel lives on."""
    for cpus in ["1", "2"]:
        got = knarr("--cpus", cpus, compiled("wild_table"))
        check(got.status == 0 and got.stdout.endswith(b"alive\n"), f"status {got.status}: {harness.tail(got.stdout)} {harness.tail(got.stderr)}")


@test("machine/noise-calls")
def noise_calls():
    """Random numbers of calls with random arguments: the program may die, the kernel may not."""
    for seed in range(1, 4):
        got = knarr("--cpus", "2", "-m", "64M", compiled("wild_table"), "noise", str(seed), timeout=60)
        check(got.status != 125, f"seed {seed}: status {got.status}: {harness.tail(got.stderr)}")


@test("machine/fork-pages")
def fork_pages():
    """Ten thousand processes come and go without the loss of a page."""
    for cpus in ["1", "2"]:
        got = knarr("--cpus", cpus, "-m", "256M", compiled("fork_pages"), timeout=60)
        check((got.status, got.stdout) == (0, b"done\n"), f"status {got.status}: {harness.tail(got.stdout)} {harness.tail(got.stderr)}")


@test("machine/fork-without-memory")
def fork_without_memory():
    """A fork that finds no memory for the page tables fails, and takes nothing with it."""
    expected = b"tried - failed = 0\nlost = 0\nwrong = 0\nstatus >> 8 = 3\n"
    for cpus in ["1", "2"]:
        got = knarr("--cpus", cpus, "-m", "48M", compiled("fork_oom"))
        check((got.status, got.stdout) == (0, expected), f"status {got.status}: {harness.tail(got.stdout)} {harness.tail(got.stderr)}")


@test("machine/leaks")
def leaks():
    """Memory comes back after files, mappings, threads and processes."""
    for cpus in ["1", "2"]:
        got = knarr("--cpus", cpus, "-m", "128M", compiled("leaks"))
        check((got.status, got.stdout) == (0, b"done\n"), f"status {got.status}: {harness.tail(got.stdout)} {harness.tail(got.stderr)}")


@test("machine/clock-set")
def clock_set():
    """Waits until a time of day follow the clock; a mutex lends its waiter's real-time priority."""
    answers = ["0", "0", "0", "8", "1", "1", "-1 ECANCELED", "-1 EAGAIN", "0", "-1 ECANCELED", "8", "0", "-1 ETIMEDOUT",
               "0", "0", "1", "0", "1", "1", "-1 EINVAL", "-1 EINVAL"]
    for cpus in ["1", "2"]:
        got = knarr("--cpus", cpus, compiled("clock_set"))
        lines = got.stdout.decode().splitlines()
        ends = [line.rsplit("= ", 1)[-1].rsplit("futex: ", 1)[-1] for line in lines]
        check(got.status == 0 and ends[:len(answers)] == answers and lines[-1] == "done = 1",
              f"status {got.status}: {harness.tail(got.stdout, 30)} {harness.tail(got.stderr)}")
