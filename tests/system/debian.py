"""Unmodified dynamic programs from Debian in a root that Debian's own tools made: a file system image of some hundred megabytes,
read from a disk, with everything that a package's programs expect around them."""
import os
import pathlib
import re

from harness import BUILD, KNARR, WORK, check, execute, knarr, once, tail, test

PACKAGES = ["python3", "libpython3.11-testsuite", "perl", "git", "sqlite3", "gcc", "libc6-dev", "nodejs",
            "openjdk-17-jdk-headless", "postgresql-15", "procps",
            # what tests/system/net_servers.py serves
            "redis-server", "nginx-light", "memcached", "haproxy", "openssh-server", "curl", "iperf3", "iproute2", "iputils-ping"]
# What mmdebstrap takes over from this machine and an image does not have.
HOOKS = ['rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap', 'rm -f "$1"/etc/resolv.conf "$1"/etc/hostname']
# How mmdebstrap works in its root, the best first: what a machine allows differs (containers without mounts or user namespaces).
MODES = ["root", "unshare", "fakechroot", "chrootless"]
_image = []


def acquiring():
    """How apt on this machine reaches its archives: proxies and such, as apt.conf(5) has it."""
    dump = execute(["apt-config", "dump", "Acquire"]).stdout.decode().splitlines()
    return "\n".join(line for line in dump if re.match(r'Acquire::(https?|ftp|Retries|ForceIPv|Check-)\S* "[^"]', line)) + "\n"


def bootstrap(tar):
    """Makes the root from where this machine has its packages; returns why not, or nothing."""
    apt = pathlib.Path("/etc/apt")
    sources = [path for path in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list")), *sorted(apt.glob("sources.list.d/*.sources"))]
               if path.exists() and re.search(r"^(deb |Types:)", path.read_text(), re.M)]
    options = tar.with_name("apt.conf")
    options.write_text(acquiring())
    tried = []
    for mode in MODES:
        done = execute(["mmdebstrap", "--quiet", f"--mode={mode}", "--variant=minbase", "--format=tar", f"--aptopt={options}",
                        *(f"--customize-hook={hook}" for hook in HOOKS), "--include=" + ",".join(PACKAGES), "bookworm",
                        f"{tar}.new", *sources], timeout=600)
        if done.status == 0:
            os.rename(f"{tar}.new", tar)
            return ""
        tried.append(f"{mode}: {tail(done.stderr, 4)}")
    return "mmdebstrap: " + "\n".join(tried)


def image():
    """The root as an EROFS image: made once, and again when the packages or the packer change."""
    with once("debian root"):
        if not _image:
            directory = WORK / "debian"
            directory.mkdir(parents=True, exist_ok=True)
            tar, packed, wanted = directory / "root.tar", directory / "root.erofs", directory / "packages"
            why, recipe = "", " ".join(PACKAGES + HOOKS)
            if not tar.exists() or not wanted.exists() or wanted.read_text() != recipe:
                why = bootstrap(tar)
                if not why:
                    wanted.write_text(recipe)
            if not why and (not packed.exists() or packed.stat().st_mtime < max(tar.stat().st_mtime, KNARR.stat().st_mtime)):
                done = execute([KNARR, "pack", "-o", packed, tar], timeout=300)
                why = "" if done.status == 0 else "knarr pack: " + tail(done.stderr, 10)
            _image[:] = [why, packed]
    check(not _image[0], _image[0])
    return _image[1]


def debian(*argv, memory="1G", cpus="1", timeout=300, options=()):
    return knarr("--root", image(), "-m", memory, "--cpus", cpus, *options, *argv, timeout=timeout)


def prints(want, *argv, status=0, **options):
    """The program's output as a regular expression; where it is known beforehand it is as on any Linux."""
    got = debian(*argv, **options)
    text = got.stdout.decode("utf-8", "replace")
    check(got.status == status and re.search(want, text, re.S), f"status {got.status}: {tail(got.stdout, 8)} / {tail(got.stderr, 8)}")


# The root is made beside other tests, those that need it come later.
@test("debian/perl", first=True)
def perl():
    prints(r"\A2,4,6\n[1-9]\d*\n1275\n\Z", "perl", "-e", 'use POSIX; use File::Temp; use List::Util "sum"; print join(",", map { $_ * 2 } 1..3), "\n";'
           'print `ls / | wc -l`; my ($fh, $name) = File::Temp::tempfile(UNLINK => 1); print $fh "$_\\n" for 1..50; close $fh;'
           'open my $in, "<", $name or die; print sum(map { chomp; $_ } <$in>), "\\n";', memory="128M")


@test("debian/git")
def git():
    prints(r"\A20\n.*in-pack: 60\n.*\Z", "sh", "-ec", """
        cd /root; export GIT_AUTHOR_DATE=2020-01-01T00:00:00 GIT_COMMITTER_DATE=2020-01-01T00:00:00
        git init -q r; cd r; git config user.email a@b; git config user.name n
        for i in $(seq 20); do seq $i 1000 > f$i; git add .; git commit -qm "commit $i"; done
        git log --oneline | wc -l; git gc -q; git fsck --strict; git count-objects -v; git clone -q . ../copy; diff -r --exclude=.git . ../copy
        """, memory="256M")


@test("debian/sqlite3")
def sqlite3():
    prints(r"\A20000\|2666866670000\nok\nwal\n", "sqlite3", "/root/x.db", """
        create table t(a integer primary key, b); with recursive c(x) as (select 1 union all select x + 1 from c where x < 20000)
        insert into t select x, x * x from c; select count(*), sum(b) from t; pragma integrity_check; pragma journal_mode=wal;
        update t set b = -b; delete from t where a % 2; vacuum; select count(*) from t;""", memory="128M")


@test("debian/gcc")
def gcc():
    prints(r"\Acompiled by 12\.[\d.]+ with argument x\n3\n", "sh", "-c", r"""
        cd /root; cat > a.c <<'END'
        #include <stdio.h>
        int main(int c, char **v) { printf("compiled by %s with argument %s\n", __VERSION__, v[1]); return c + 1; }
END
        gcc -O2 -Wall -g a.c -o a && ./a x; echo $?""", memory="256M")


@test("debian/node")
def node():
    prints(r"\A\[2,4,6\]\nwritten\nchild\nthread 55\n", "node", "-e", """
        console.log(JSON.stringify([1,2,3].map(x => x * 2)));
        const fs = require("fs"), cp = require("child_process"), wt = require("worker_threads");
        fs.writeFileSync("/tmp/x", "written"); console.log(fs.readFileSync("/tmp/x", "utf8"));
        console.log(cp.execSync("echo child").toString().trim());
        new wt.Worker('require("worker_threads").parentPort.postMessage([1,2,3,4,5,6,7,8,9,10].reduce((a, b) => a + b))', {eval: true})
            .on("message", m => console.log("thread", m));""", cpus="2", memory="512M")


@test("debian/java")
def java():
    got = debian("java", "-version", memory="512M")
    check(got.status == 0 and b"OpenJDK Runtime Environment" in got.stderr, tail(got.stderr))
    prints(r"\Asum 5000050000, 4 threads, /tmp/\w+\n\Z", "sh", "-ec", r"""
        cat > /root/Hello.java <<'END'
        import java.nio.file.*; import java.util.concurrent.*; import java.util.stream.*;
        public class Hello {
            public static void main(String[] a) throws Exception {
                ExecutorService pool = Executors.newFixedThreadPool(4);
                long sum = 0;
                for (Future<Long> f : pool.invokeAll(IntStream.range(0, 4).mapToObj(i -> (Callable<Long>) () ->
                        LongStream.rangeClosed(i * 25000 + 1, (i + 1) * 25000).sum()).collect(Collectors.toList())))
                    sum += f.get();
                pool.shutdown();
                Path p = Files.createTempFile("k", ""); Files.writeString(p, "x".repeat(100000));
                if (Files.size(p) != 100000) throw new Exception("size");
                System.out.println("sum " + sum + ", 4 threads, " + p.toString().replace(".tmp", ""));
            }
        }
END
        java -XX:+UseSerialGC /root/Hello.java""", cpus="2", memory="1G")


@test("debian/initdb")
def initdb():
    prints(r"performing post-bootstrap initialization \.\.\. ok.*Success.*4950", "sh", "-ec", """
        cd /tmp; su postgres -c '/usr/lib/postgresql/15/bin/initdb --no-instructions -D /var/lib/postgresql/d' && echo Success
        su postgres -c "echo 'select sum(x) from generate_series(0, 99) x' | /usr/lib/postgresql/15/bin/postgres --single -D /var/lib/postgresql/d postgres"
        """, cpus="2", memory="512M")


# ---- CPython's own tests of what it asks of the kernel ---------------------------------------------------------------

EVERYTHING = os.environ.get("DEBIAN_TESTS") == "all" # `make debian`: every module by itself, whole

# Module and the least number of its tests that must run.
CPYTHON = {
    "files": {"os": 300, "shutil": 150, "tempfile": 90, "mmap": 40, "fcntl": 8, "ioctl": 0},
    "io": {"io": 600},
    "processes": {"subprocess": 300, "fork1": 4, "wait3": 2, "wait4": 2, "posix": 100, "pty": 4},
    "threads-and-signals": {"threading": 180, "threadsignals": 5, "signal": 50, "thread": 20, "resource": 8},
    "waiting": {"select": 4, "poll": 5, "selectors": 60},
}
# What they ask for and the machine has not.
WITHOUT = {
    "TestSendfile": "TCP",                                                                      # test_os
    "test_invalid_socket": "TCP", "test_set_wakeup_fd_socket_result": "TCP",                    # test_signal
    "test_fcntl_64_bit": "dnotify",                                                             # test_fcntl
}
# What takes long, by waiting or by doing again what others do: only in `make debian`.
LONG = [
    "PySignalsTest", "test_interrupted_write_*", "PyTextIOWrapperTest", "PyBuffered*",          # test_io: io in Python beside io in C
    "ProcessTestCaseNoPoll", "test_check_output_timeout",                                       # test_subprocess
    "StressTest", "test_itimer_*", "SiginterruptTest",                                          # test_signal
]


def cpython(modules):
    ignored = [word for name in [*WITHOUT, *([] if EVERYTHING else LONG)] for word in ("-i", name)]
    got = debian("python3", "-m", "test.regrtest", "-v", *ignored, *(f"test_{module}" for module in modules), cpus="2", timeout=600)
    text = got.stdout + got.stderr
    ran = dict.fromkeys(modules, 0)
    for module, part in re.findall(rb"(?sm)^\d+:\d+:\d+ [^\n]*\[ *\d+/\d+[^]]*\] test_(\w+)(.*?)(?=^\d+:\d+:\d+ [^\n]*\[|\Z)", text):
        ran[module.decode()] = sum(int(n) for n in re.findall(rb"^Ran (\d+) tests?", part, re.M))
    failed = sorted({line.decode() for line in re.findall(rb"^(?:ERROR|FAIL): \w+", text, re.M)})
    few = [module for module, least in modules.items() if ran[module] < (least if EVERYTHING else min(least, 1))]
    check(got.status == 0 and not failed and not few, f"status {got.status}, {ran} ran, too few of {few}, {failed} {tail(text, 8)}")
    return ", ".join(f"{name}: {count}" for name, count in ran.items()) + " ran"


for group, members in CPYTHON.items():
    for part in [{module: least} for module, least in members.items()] if EVERYTHING else [members]:
        test(f"debian/cpython-{next(iter(part)) if EVERYTHING else group}")(lambda part=part: cpython(part))
