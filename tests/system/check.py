"""`knarr check`: what it says of programs whose system calls are known, and that what strace sees of Debian's programs is in its lists."""
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

from harness import BUILD, KNARR, Skipped, check, execute, scratch, tail, test

FLAVOURS = {"static": ["gcc", "-static"], "dynamic": ["gcc"], "static-pie": ["gcc", "-static-pie"], "musl": ["musl-gcc", "-static"],
            "bare": ["gcc", "-nostdlib", "-static", "-fno-asynchronous-unwind-tables", "-s"]}
HEAD = """#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
static long enter(long number, long a) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(0L) : "rcx", "r11", "memory");
    return result;
}
"""
MAIN = HEAD + "int main(int argc, char **argv) { %s return 0; }\n"


def built(directory, name, source, flavour="dynamic", *flags):
    path = pathlib.Path(directory, name)
    pathlib.Path(directory, name + ".c").write_text(source)
    done = execute([*FLAVOURS[flavour], "-O2", "-Wno-unused-result", "-w", str(path) + ".c", "-o", path, *flags])
    check(done.status == 0, f"does not compile: {tail(done.stderr)}")
    return path


def checked(program, *options, status=None):
    """What `knarr check --json` says, with the calls by name."""
    done = execute([KNARR, "check", "--json", *options, program])
    check(done.status in ([0, 1, 2] if status is None else [status]), f"status {done.status}: {tail(done.stdout)} {tail(done.stderr)}")
    report = json.loads(done.stdout)
    check({"runs": 0, "doubts": 1, "fails": 2}[report["verdict"]] == done.status, f"{report['verdict']} with status {done.status}")
    report["by_name"] = {call["name"]: call for call in report["calls"]}
    return report


def has(report, name, sure=None, chain=""):
    call = report["by_name"].get(name)
    check(call, f"{name} is not in {sorted(report['by_name'])}")
    check(sure is None or call["sure"] == sure, f"{name}: {call}")
    check(chain in call["chain"], f"{name}: {call['chain']}")
    return call


def lacks(report, *names):
    for name in names:
        check(name not in report["by_name"], f"{name} is in the list: {report['by_name'].get(name)}")


for _flavour in FLAVOURS:
    @test(f"check/known-calls/{_flavour}")
    def known(flavour=_flavour):
        """Numbers in the function, from a caller, computed, through syscall(3) and through a pointer."""
        source = HEAD + """
static __attribute__((noinline)) long through(long unused, long number, long a) { return enter(number, a); }
static __attribute__((noinline)) long pointed(long a) { return enter(SYS_mq_unlink, a); }
static long (*volatile pointer)(long) = pointed;
static __attribute__((noinline)) long nobody(long a) { return enter(SYS_swapon, a); }
long (*unused(void))(long) { return nobody; }
int start(int argc) {
    enter(argc > 1 ? SYS_fsync : SYS_fdatasync, 1);
    enter(SYS_gettid + (argc > 2), 1);
    through(1, SYS_sched_yield, 2);
    through(1, argc > 3 ? SYS_getppid : SYS_getpgrp, 2);
    switch (argc) {
    case 3: enter(SYS_flock, 0); break;
    case 4: enter(SYS_sync, 0); break;
    case 5: enter(SYS_vhangup, 0); break;
    case 6: enter(SYS_umask, 0); break;
    case 7: enter(SYS_getrusage, 0); break;
    case 8: enter(SYS_times, 0); break;
    }
    pointer(0);
    enter(SYS_exit_group, 0);
    return 0;
}
""" + ("void _start(void) { volatile int argc = 1; start(argc); }" if flavour == "bare" else """
int main(int argc, char **argv) { syscall(SYS_io_setup, 1, 0); syscall(argc > 1 ? SYS_kcmp : SYS_getcpu, 0); return start(argc); }""")
        with scratch() as directory:
            report = checked(built(directory, "known", source, flavour, "-Wl,--gc-sections", "-ffunction-sections"))
        for name in ["fsync", "fdatasync", "gettid", "readahead", "sched_yield", "getppid", "getpgrp", "flock", "sync", "vhangup", "umask",
                     "getrusage", "times", "exit_group"]:
            has(report, name, sure=True)
        if flavour != "bare":
            call = has(report, "io_setup", sure=True, chain="main")
            check(call["optional"] and not call["supported"], f"{call}")
            has(report, "kcmp", sure=True)
            has(report, "getcpu")
            check(report["verdict"] == "runs", f"{report['verdict']}: {report['unknown']}")
        has(report, "mq_unlink", sure=False)
        lacks(report, "swapon", "reboot", "ptrace", "mount")


@test("check/unknown-number")
def unknown():
    with scratch() as directory:
        report = checked(built(directory, "unknown", MAIN % "enter(atol(argv[1]) * 3, 0);", "static"), status=1)
        check(any(use["sure"] and "main" in use["chain"] for use in report["unknown"]), f"{report['unknown']}")
        report = checked(built(directory, "stored", HEAD + "volatile long number = SYS_sync;" + "int main() { enter(number, 0); }"), status=0)
        has(report, "sync")
        check(any(not use["sure"] for use in report["unknown"]), f"{report['unknown']}")


@test("check/missing-call")
def missing():
    with scratch() as directory:
        always = built(directory, "always", MAIN % 'write(1, "x", 1); syscall(SYS_fsopen, "ext4", 0);')
        sometimes = built(directory, "sometimes", MAIN % 'if (argc > 1) syscall(SYS_fsopen, "ext4", 0);')
        spared = built(directory, "spared", MAIN % "syscall(SYS_io_uring_setup, 8, 0);")
        has(checked(always, status=2), "fsopen", chain="main")
        has(checked(sometimes, status=1), "fsopen", chain="main")
        has(checked(spared, status=0), "io_uring_setup", chain="main")
        text = execute([KNARR, "check", "-v", sometimes])
        check(text.status == 1 and not text.stderr, f"{text.status} {text.stderr!r}")
        lines = text.stdout.decode().split("\n")
        check(lines[0] == f"{sometimes}: can run, with doubts", lines[0])
        check(any("fsopen" in line and "mounting" in line for line in lines) and any("called at" in line and "main" in line for line in lines),
              text.stdout.decode())


@test("check/refused-arguments")
def refused():
    body = ("socket(argc > 1 ? AF_PACKET : AF_INET, SOCK_DGRAM, 0); socket(AF_VSOCK, 1, 0); prctl(PR_SET_SECCOMP, 2, 0);"
            "prctl(PR_SET_NAME, argv[0]); unshare(CLONE_NEWNS);")
    with scratch() as directory:
        for flavour in ["static", "dynamic"]:
            report = checked(built(directory, "refused", "#define _GNU_SOURCE\n#include <sched.h>\n" + MAIN % body, flavour), status=1)
            got = {(entry["call"], entry["argument"]) for entry in report["refused"] if entry["sure"]}
            want = {("socket", 17), ("socket", 40), ("prctl", 22), ("unshare", 0x20000)}
            check(got == want, f"{flavour}: {got}, not {want}")


@test("check/32-bit-calls")
def old_calls():
    with scratch() as directory:
        body = '__asm__ volatile("int $0x80" : : "a"(20L) : "memory");'
        check(checked(built(directory, "old", MAIN % body), status=1)["calls_of_32_bits"], "int 0x80 is not seen")
        check(checked(built(directory, "x32", MAIN % "enter(0x40000000 | SYS_getpid, 0);"), status=1), "x32 is not seen")


@test("check/go")
def go_program():
    with scratch() as directory:
        source = pathlib.Path(directory, "p.go")
        source.write_text('package main\nimport ("os"; "syscall")\nfunc main() { println(syscall.Getppid()); os.Stat("/"); syscall.Reboot(0)\n'
                          "syscall.RawSyscall(syscall.SYS_ACCT, 0, 0, 0) }\n")
        for flags in [[], ["-ldflags=-s -w"]]:
            done = execute(["go", "build", *flags, "-o", f"{directory}/p", source], env={**os.environ, "GOCACHE": str(BUILD / "go-cache"), "HOME": directory})
            check(done.status == 0, tail(done.stderr))
            report = checked(f"{directory}/p", status=1)
            for name in ["getppid", "newfstatat", "reboot", "clone", "futex", "epoll_ctl", "acct"]:
                has(report, name)
            lacks(report, "swapon", "init_module", "mount")


@test("check/script")
def script():
    with scratch() as directory:
        path = pathlib.Path(directory, "start.sh")
        path.write_text("#!/usr/bin/env -S dash -e\n# sleep\nif true; then exec busybox httpd; fi\n")
        path.chmod(0o755)
        report = checked(path)
        check(report["interpreter"] == "dash" and report["words"] == ["busybox"], f"{report['interpreter']} {report['words']}")
        has(report, "execve")


@test("check/root")
def in_root():
    """A program in a directory, a tar archive and an image, with its libraries from there."""
    with scratch() as directory:
        top = pathlib.Path(directory, "root")
        (top / "opt/lib").mkdir(parents=True)
        (top / "bin").mkdir()
        built(top / "opt/lib", "libdeep.so", HEAD + "void deep(void) { enter(SYS_acct, 0); }", "dynamic", "-shared", "-fPIC", "-Wl,-soname,libdeep.so")
        built(top / "bin", "prog", "void deep(void); int main(int c, char **v) { if (c > 1) deep(); return 0; }", "dynamic",
              f"{top}/opt/lib/libdeep.so", "-Wl,-rpath,$ORIGIN/../opt/lib")
        for file in ["/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"]:
            (top / file[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, top / file[1:])
        tar, image = f"{directory}/r.tar.gz", f"{directory}/r.erofs"
        execute(["tar", "-C", top, "-czf", tar, "."])
        check(execute([KNARR, "pack", "-o", image, top]).status == 0, "pack")
        for root in [top, tar, image]:
            for name in ["/bin/prog", "prog"]:
                has(checked(name, "--root", root, status=1), "acct", sure=True, chain="main (prog) > deep")
        (top / "opt/lib/libdeep.so").unlink()
        report = checked("prog", "--root", top, status=2)
        check(report["missing_libraries"] == ["libdeep.so"], f"{report['missing_libraries']}")
        check(checked("nothing", "--root", top, status=2)["problem"] == "not found", "nothing is found")


def write_oci(directory, files, config):
    """An OCI layout with one layer."""
    blobs = pathlib.Path(directory, "blobs", "sha256")
    blobs.mkdir(parents=True)

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o755, len(data)
            tar.addfile(member, io.BytesIO(data))
    layers = [blob(layer.getvalue(), "layer.v1.tar")]
    config = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]}}
    manifest = {"schemaVersion": 2, "config": blob(json.dumps(config).encode(), "config.v1+json"), "layers": layers}
    index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), "manifest.v1+json")]}
    pathlib.Path(directory, "index.json").write_text(json.dumps(index))
    pathlib.Path(directory, "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


@test("check/image")
def image():
    """What an image starts: the entrypoint's interpreter and the command; all of its programs."""
    with scratch() as directory:
        good = built(directory, "good", MAIN % "getpid();", "static").read_bytes()
        bad = built(directory, "bad", MAIN % "if (argc > 1) syscall(SYS_acct, 0);", "static").read_bytes()
        layout = f"{directory}/oci"
        write_oci(layout, {"bin/sh": bad, "opt/good": good, "opt/bad": bad, "lib/x.so": good, "entry.sh": b"#!/bin/sh\nexec good\n"},
                  {"Entrypoint": ["/entry.sh"], "Cmd": ["good", "-x"], "Env": ["PATH=/opt:/bin"]})

        def verdicts(*words, status):
            done = execute([KNARR, "check", "--json", *words], env={**os.environ, "XDG_CACHE_HOME": directory})
            check(done.status == status, f"{words}: {done.status} {tail(done.stderr)}")
            reports = json.loads(done.stdout)
            return {r["program"]: r["verdict"] for r in (reports if isinstance(reports, list) else [reports])}

        check(verdicts(f"oci:{layout}", status=1) == {"/entry.sh": "doubts", "good": "runs"}, "what it starts")
        check(verdicts(f"oci:{layout}", "good", status=0) == {"good": "runs"}, "one program")
        got = verdicts("--all", f"oci:{layout}", status=1)
        check(got == {"/bin/sh": "doubts", "/opt/bad": "doubts", "/opt/good": "runs"}, f"all: {got}")
        done = execute([KNARR, "check", f"oci:{directory}/nowhere"])
        check(done.status == 125 and done.stderr.startswith(b"knarr: "), f"{done.status} {done.stderr}")


@test("check/plug-ins")
def plugins():
    with scratch() as directory:
        built(directory, "plug.so", HEAD + "void run(void) { enter(SYS_acct, 0); }", "dynamic", "-shared", "-fPIC")
        body = f'void (*run)(void) = dlsym(dlopen("{directory}/plug.so", RTLD_NOW), "run"); run();'
        report = checked(built(directory, "loads", "#define _GNU_SOURCE\n#include <dlfcn.h>\n" + MAIN % body))
        check(report["loaded_libraries"] == [f"{directory}/plug.so"], f"{report['loaded_libraries']}")
        has(report, "acct", sure=False)
        hidden = checked(built(directory, "hides", "#define _GNU_SOURCE\n#include <dlfcn.h>\n" + MAIN % "dlopen(argv[1], RTLD_NOW);"), status=0)
        check(hidden["loads_by_name"], "dlopen is not seen")
        lacks(hidden, "acct")
        has(checked(f"{directory}/hides", "--also", f"{directory}/plug.so"), "acct")


@test("check/bad-files")
def bad_files():
    """Damaged files get a line and status 2, wrong usage 125; nothing crashes."""
    with scratch() as directory:
        program = built(directory, "program", MAIN % "getpid();", "static")
        data = program.read_bytes()
        for size in [0, 3, 20, 64, 200, 5000, len(data) // 2]:
            program.write_bytes(data[:size])
            done = execute([KNARR, "check", program])
            check(done.status == 2 and done.stdout.count(b"\n") == 2 and not done.stderr, f"{size}: {done.status} {done.stdout!r} {done.stderr!r}")
        program.write_bytes(b"hello")
        check(checked(program, status=2)["problem"] == "not an ELF file", "text")
        for words in [[], ["--nonsense", program], [program, program], ["--root", "/nonexistent", "x"], ["-e", "x", program]]:
            done = execute([KNARR, "check", *words])
            check(done.status == 125 and done.stderr.startswith(b"knarr: ") and done.stderr.count(b"\n") == 1, f"{words}: {done}")
        check(execute([KNARR, "check", "--help"]).stdout.startswith(b"Usage: knarr check"), "help")
        check(checked(directory, status=2), "a directory")


# ---- the truth: strace ---------------------------------------------------------------------------------------------------------------

def traced(argv, directory, **kwargs):
    """The calls that strace sees a program and all its children make."""
    out = pathlib.Path(directory, "trace")
    done = execute(["strace", "-f", "-qq", "-c", "-U", "name", "-o", out, *argv], cwd=directory, timeout=60, **kwargs)
    names = set(out.read_text().split()) - {"syscall", "total"} if out.exists() else set()
    names = {name for name in names if not name.startswith("-")}
    if not names:
        raise Skipped(f"strace does not work here: {tail(done.stderr)}")
    return names


def sound(program, seen, *options):
    """Fails when strace saw a call that is not in the list; returns what the test prints."""
    report = checked(program, *options)
    listed = {call["name"] for call in report["calls"]}
    check(not seen - listed, f"not in the list: {sorted(seen - listed)}")
    return f"{len(seen)} calls seen, {len(listed)} listed, {report['seconds']:.1f} s"


@test("check/strace/busybox")
def busybox_truth():
    script = ("mkdir d; cd d; echo a > f; cp f g; ln -s f l; ln f h; chmod 600 f; mv g k; ls -lR; cat f | grep a | sed s/a/b/ | sort; rm -r k;"
              "touch -d 2020-01-01 f; find . -name f; tar cf t f; tar tf t; gzip f; zcat f.gz; sleep 0.01; df .; ps; uname -a; date; id; free; stat t;"
              "dd if=/dev/zero of=z bs=1k count=3; sync; wc z; sha256sum z; (sleep 5 & kill $!); wait; nc -l -p 0 -w 1; mkfifo p; nice true; uptime")
    with scratch() as directory:
        program = shutil.which("busybox")
        return sound(program, traced([program, "sh", "-c", script], directory))


@test("check/strace/dash")
def dash_truth():
    with scratch() as directory:
        script = "trap 'echo t' USR1; kill -USR1 $$; cd /; umask 077; ulimit -n; x=$(echo a; echo b); [ -f /etc/passwd ] && [ -w / ]; for i in 1 2 3; do echo $i | while read a; do :; done; done; (exit 3) & wait; echo x > $0; times; set -m; true & fg"
        return sound("dash", traced(["dash", "-c", script, f"{directory}/out"], directory))


@test("check/strace/python3")
def python_truth():
    """With what is built into the interpreter: modules in files of their own are loaded by names that are made up."""
    script = """if 1:
        import posix, time, _socket, select, _signal, gc, sys, _thread, errno, fcntl, pwd, array
        posix.mkdir('d'); fd = posix.open('d/f', posix.O_RDWR | posix.O_CREAT); posix.write(fd, b'x' * 9999); posix.lseek(fd, 0, 0); posix.read(fd, 100)
        posix.fsync(fd); posix.ftruncate(fd, 5); posix.stat('d/f'); posix.rename('d/f', 'd/g'); posix.chmod('d/g', 0o600); posix.utime('d/g')
        posix.symlink('g', 'd/l'); posix.readlink('d/l'); posix.listdir('d'); posix.getrandom(4); posix.uname(); posix.urandom(3); posix.statvfs('d')
        a, b = _socket.socketpair(); a.send(b'x'); b.recv(1); s = _socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); s.getsockname()
        c = _socket.socket(); c.connect(s.getsockname()); select.select([s], [], [], 1); p = select.poll(); p.register(b); p.poll(1)
        e = select.epoll(); e.register(b, 1); e.poll(0.01); time.sleep(0.01); time.time(); fcntl.fcntl(fd, fcntl.F_GETFL); pwd.getpwuid(0)
        lock = _thread.allocate_lock(); lock.acquire(); _thread.start_new_thread(lock.release, ()); lock.acquire()
        pid = posix.fork()
        if pid == 0: posix._exit(3)
        posix.waitpid(pid, 0); r, w = posix.pipe(); posix.dup2(r, 50); posix.close(r); _signal.alarm(0); _signal.setitimer(_signal.ITIMER_REAL, 0)
        _signal.raise_signal(_signal.SIGCHLD); posix.getpriority(posix.PRIO_PROCESS, 0); posix.sched_getaffinity(0); posix.getloadavg(); posix.times()
        posix.unlink('d/g'); posix.memfd_create('m'); posix.pwrite(w, b'', 0) if 0 else None; x = bytearray(50 << 20); posix.sendfile
        posix.execv('/usr/bin/python3', ['python3', '-I', '-S', '-c', 'print(1)'])
    """
    program = os.path.realpath("/usr/bin/python3")
    with scratch() as directory:
        return sound(program, traced([program, "-I", "-S", "-c", script], directory))


@test("check/strace/redis-server")
def redis_truth():
    program = "/usr/bin/redis-server"
    with tempfile.TemporaryDirectory(prefix="knarr-check-") as directory:
        commands = ("sleep 1; for c in 'set a 1' 'lpush l 1 2 3' 'bgsave' 'config get maxmemory' 'info' 'bgrewriteaof' 'eval return(1) 0' 'config rewrite'"
                    " 'debug sleep 0.2' 'save'; do redis-cli -s ./s $c; sleep 0.1; done >/dev/null; redis-cli -s ./s shutdown; true")
        pathlib.Path(directory, "c").write_text(f"unixsocket ./s\nport 0\nappendonly yes\nio-threads 2\ndir {directory}\n")
        with subprocess.Popen(["sh", "-c", commands], cwd=directory):
            seen = traced([program, "c"], directory)
        check("bind" in seen and "fsync" in seen | {"fdatasync"}, f"redis did not work: {sorted(seen)}")
        return sound(program, seen)
