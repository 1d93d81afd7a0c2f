"""The contract of `knarr run`: exit statuses, streams, options, and what is printed on request."""
import io
import os
import pathlib
import re
import signal
import tarfile
import time

import harness
from harness import Failure, busybox, check, compare, compiled, execute, knarr, linux, scratch, test


def status_test(name, args, expected, crash=False):
    @test(f"status/{name}")
    def function():
        got = knarr("-m", "64M", compiled("status"), *args)
        check(got.status == expected, f"status {got.status}, not {expected}: {harness.tail(got.stderr)}")
        check(got.stdout == f"{args[0]} {args[1] if len(args) > 1 else 0}\n".encode(), f"stdout {got.stdout!r}")
        lines = got.stderr.decode().split("\n")
        check(lines[0].rstrip("\r") == "this is stderr", f"stderr {got.stderr!r}")
        if crash:
            check(any(line.startswith("knarr: ") for line in lines), f"no line about the crash: {got.stderr!r}")
        else:
            check(len(lines) == 2, f"stderr {got.stderr!r}")


for number in [0, 1, 2, 42, 77, 124, 127, 128, 200, 255]:
    status_test(f"exit-{number}", ["exit", str(number)], number)
for number in [1, 2, 3, 6, 9, 10, 13, 14, 15, 24, 31, 34, 64]:
    status_test(f"killed-by-{number}", ["kill", str(number)], 128 + number)
status_test("exit-from-thread", ["thread", "9"], 9)
status_test("exit-after-main-thread", ["last", "8"], 8)
status_test("null-jump", ["null"], 139, crash=True)
status_test("stack-overflow", ["overflow"], 139, crash=True)
status_test("abort", ["abort"], 134)
status_test("illegal-instruction", ["ud2"], 132, crash=True)
status_test("division-by-zero", ["div"], 136, crash=True)
status_test("write-to-text", ["write"], 139, crash=True)


@test("crash/report")
def crash_report():
    """A crash says where: signal, address, registers and the mapping."""
    got = knarr("-m", "64M", "-v", compiled("status"), "null")
    text = got.stderr.decode()
    check(got.status == 139, f"status {got.status}")
    for pattern in [r"SIGSEGV", r"(?i)rip[ =:]", r"(?i)rsp[ =:]"]:
        check(re.search(pattern, text), f"no {pattern} in the report: {text[-600:]}")


def one_line(got, status, *words):
    check(got.status == status, f"status {got.status}, not {status}: {harness.tail(got.stderr)}")
    check(got.stdout == b"", f"stdout {got.stdout!r}")
    lines = got.stderr.decode().rstrip("\n").split("\n")
    check(len(lines) == 1 and lines[0].startswith("knarr: "), f"not one clear line: {got.stderr!r}")
    for word in words:
        check(word in lines[0], f"no {word!r} in: {lines[0]}")


@test("status/not-found")
def not_found():
    one_line(knarr("/no/such/program"), 127, "/no/such/program")
    one_line(knarr("no-such-program"), 127, "no-such-program")


@test("status/not-executable")
def not_executable():
    with scratch() as directory:
        plain = pathlib.Path(directory, "plain")
        plain.write_bytes(pathlib.Path(compiled("hello")).read_bytes())
        plain.chmod(0o644)
        one_line(knarr("--root", directory, "/plain"), 126, "plain")


@test("status/usage")
def usage():
    one_line(knarr("--no-such-option", "x"), 125)
    one_line(knarr("-m", "many", "/bin/true"), 125)
    one_line(knarr("--cpus", "0", "/bin/true"), 125)
    one_line(knarr(), 125)


@test("streams/separate")
def separate():
    script = "echo out; echo err >&2; echo out2; printf 'no newline'"
    compare(linux([busybox(), "sh", "-c", script]), knarr(busybox(), "sh", "-c", script), stderr=True)


@test("streams/binary")
def binary():
    state, data = 1, bytearray()
    while len(data) < 1 << 20:
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        data += state.to_bytes(8, "little")
    got = knarr(busybox(), "cat", stdin=bytes(data))
    check(got.status == 0, f"status {got.status}: {harness.tail(got.stderr)}")
    check(got.stdout == bytes(data), f"{len(got.stdout)} bytes came back, not the same")
    check(got.stderr == b"", f"stderr {got.stderr!r}")


@test("streams/end-of-input")
def end_of_input():
    compare(linux([busybox(), "wc"]), knarr(busybox(), "wc"), stderr=True)
    text = b"some words\nand a line without an end"
    compare(linux([busybox(), "wc"], stdin=text), knarr(busybox(), "wc", stdin=text), stderr=True)


@test("streams/unread-input")
def unread_input():
    """A program that ends without reading its input ends at once, however much there is."""
    got = knarr(compiled("hello"), stdin=b"x" * (1 << 20))
    check((got.status, got.stdout) == (0, b"Hello, world!\n"), f"{got.status} {got.stdout!r} {got.stderr!r}")


@test("streams/closed-output")
def closed_output():
    """`knarr run yes | head -1` ends."""
    done = execute(["sh", "-c", 'timeout -k 5 60 "$0" run "$1" yes | head -1', harness.KNARR, busybox()])
    check(done.stdout == b"y\n" and done.status == 0, f"{done.status} {done.stdout!r} {done.stderr!r}")


@test("options/env")
def env():
    got = knarr("-e", "ONE=1", "--env", "TWO=2 words", "-e", "EMPTY=", "-e", "FROM_HOST", busybox(), "env", env={"FROM_HOST": "yes"})
    lines = got.stdout.decode().split("\n")
    for want in ["ONE=1", "TWO=2 words", "EMPTY=", "FROM_HOST=yes"]:
        check(want in lines, f"no {want} in {lines}")
    check(any(line.startswith("PATH=") for line in lines), "no PATH")


@test("options/workdir")
def workdir():
    got = knarr("-w", "/some/where", busybox(), "pwd")
    check(got.stdout == b"/some/where\n", f"{got.stdout!r} {got.stderr!r}")


@test("options/hostname")
def hostname():
    got = knarr("-h", "longship", busybox(), "hostname")
    check(got.stdout == b"longship\n", f"{got.stdout!r} {got.stderr!r}")


def make_root(directory):
    root = pathlib.Path(directory, "root")
    for name in ["bin", "etc", "empty", "deep/er"]:
        (root / name).mkdir(parents=True)
    (root / "bin/busybox").write_bytes(pathlib.Path(busybox()).read_bytes())
    (root / "bin/busybox").chmod(0o755)
    (root / "etc/motd").write_text("welcome\n")
    for name in ["hostname", "hosts", "resolv.conf"]:  # a boot makes them when they are not there, and names the host
        (root / "etc" / name).write_text("127.0.1.1 knarr\n")
    (root / "etc/secret").write_text("x" * 5000)
    (root / "etc/secret").chmod(0o600)
    (root / "deep/er/page").write_bytes(bytes(range(256)) * 40)
    (root / "link").symlink_to("etc/motd")
    os.link(root / "etc/motd", root / "hard")
    for path in [root, *root.rglob("*")]:
        os.utime(path, (1000000000, 1000000000), follow_symlinks=False)
    return root


# Directories' link counts and sizes are a file system's own affair.
ROOT_SCRIPT = ("cd /; find bin etc empty deep link hard | sort | while read f; do stat -c '%n %F %a %Y' $f; done;"
               "cat link; stat -c '%h %s' hard etc/secret; sha256sum deep/er/page; readlink link; echo new > empty/new; cat empty/new")


def root_test(kind, pack):
    @test(f"options/root-{kind}")
    def function():
        with scratch() as directory:
            root = make_root(directory)
            got = knarr("--root", pack(root), "/bin/busybox", "sh", "-c", ROOT_SCRIPT)
            check(got.status == 0, f"status {got.status}: {harness.tail(got.stderr)}")
            env = {"PATH": "/usr/bin:/bin"}
            want = execute([busybox(), "sh", "-c", ROOT_SCRIPT.replace("cd /;", f"cd {root};")], env=env)
            compare(want, got)


def pack_tar(root, mode="w"):
    path = root.parent / "root.tar"
    with tarfile.open(path, mode) as archive:
        archive.add(root, ".")
    return path


def pack_cpio(root):
    path = root.parent / "root.cpio"
    with open(path, "wb") as out:
        names = "\n".join(str(p.relative_to(root)) for p in [root, *sorted(root.rglob("*"))])
        execute_cpio = ["cpio", "-o", "-H", "newc", "--quiet"]
        done = execute(execute_cpio if harness.shutil.which("cpio") else [busybox(), *execute_cpio[:-1]], names.encode(), cwd=root)
        out.write(done.stdout)
    return path


root_test("directory", lambda root: root)
root_test("tar", pack_tar)
root_test("tar-gz", lambda root: pack_tar(root, "w:gz"))
root_test("cpio", pack_cpio)


@test("options/program-in-root-first")
def program_in_root():
    with scratch() as directory:
        root = make_root(directory)
        (root / "usr/bin").mkdir(parents=True)
        (root / "usr/bin/env").write_bytes(pathlib.Path(compiled("hello")).read_bytes())
        (root / "usr/bin/env").chmod(0o755)
        got = knarr("--root", root, "/usr/bin/env")
        check(got.stdout == b"Hello, world!\n", f"{got.status} {got.stdout!r} {got.stderr!r}")
        got = knarr("--root", root, compiled("hello"))  # not in the root: from the host
        check(got.stdout == b"Hello, world!\n", f"{got.status} {got.stdout!r} {got.stderr!r}")


@test("options/script")
def script():
    """A #! script is run by its interpreter."""
    with scratch() as directory:
        root = make_root(directory)
        (root / "hello.sh").write_text("#!/bin/busybox sh\necho \"$0 $1\"\n")
        (root / "hello.sh").chmod(0o755)
        got = knarr("--root", root, "/hello.sh", "argument")
        check(got.stdout == b"/hello.sh argument\n", f"{got.status} {got.stdout!r} {got.stderr!r}")


@test("options/net")
def network():
    """Interfaces in the order of the options with the addresses that were said, names, ports; none."""
    script = "cat /sys/class/net/eth*/address; for i in eth0 eth1; do ifconfig $i | grep -E 'inet addr|Site|MTU'; done; cat /etc/resolv.conf; tail -n 1 /etc/hosts; route -n | grep UG"
    for machine in ["microvm", "q35"]:
        got = knarr("--machine", machine, "--net", "user,mac=02:00:00:00:00:01", "--net", "user,mtu=900", "--ip", "10.9.0.7/16", "--ip6", "none",
                    "--mac", "02:00:00:00:00:02", "--dns", "10.0.2.3", "--dns", "10.0.2.4", "--dns-search", "a.b", "--add-host", "other:1.2.3.4",
                    busybox(), "sh", "-c", script)
        words = " ".join(got.stdout.decode().split())
        want = ("02:00:00:00:00:01 02:00:00:00:00:02 inet addr:10.0.2.15 Bcast:10.0.2.255 Mask:255.255.255.0 inet6 addr: fec0::15/64 Scope:Site "
                "UP BROADCAST RUNNING MULTICAST MTU:1500 Metric:1 inet addr:10.9.0.7 Bcast:10.9.255.255 Mask:255.255.0.0 "
                "UP BROADCAST RUNNING MULTICAST MTU:900 Metric:1 search a.b nameserver 10.0.2.3 nameserver 10.0.2.4 1.2.3.4 other "
                "0.0.0.0 10.0.2.2 0.0.0.0 UG 0 0 0 eth0")
        check(words == want, f"{machine}: {words} {harness.tail(got.stderr)}")
    got = knarr("--net", "none", busybox(), "ls", "/sys/class/net")
    check(got.stdout == b"lo\n", f"{got.stdout!r} {got.stderr!r}")


@test("options/publish")
def publish():
    """Published ports lead to the guest, over TCP and UDP; one that is taken is said."""
    import socket
    import subprocess

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        one_line(knarr("-p", f"127.0.0.1:{taken.getsockname()[1]}:80", busybox(), "true"), 125, "in use")
    child = subprocess.Popen([harness.KNARR, "run", "-p", "127.0.0.1::7", "-p", "127.0.0.1::9/udp", compiled("echo_server")],
                             stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        tcp, udp = (int(re.search(rb"127.0.0.1:(\d+)", child.stderr.readline()).group(1)) for _ in range(2))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            for _ in range(100):  # the guest is on its way
                s.sendto(b"datagram", ("127.0.0.1", udp))
                try:
                    check(s.recv(100) == b"datagram", "another datagram")
                    break
                except TimeoutError:
                    pass
            else:
                raise Failure("no datagram comes back")
        with socket.create_connection(("127.0.0.1", tcp), 10) as s:
            s.sendall(b"stream")
            check(s.recv(100) == b"stream", "another stream")
        check(child.wait(20) == 0, f"status {child.returncode}")
    finally:
        child.kill()
        child.wait()


@test("options/dry-run")
def dry_run():
    got = knarr("--dry-run", "-m", "96M", "--machine", "q35", "--kernel-arg", "aslr=off", compiled("hello"))
    text = got.stdout.decode()
    check(got.status == 0 and "qemu-system-x86_64" in text and "q35" in text and "aslr=off" in text and "96" in text, text)
    got = knarr("--dry-run", "--gdb", compiled("hello"))
    check("-S" in got.stdout.decode().split() or "-S" in got.stdout.decode(), got.stdout.decode())


@test("options/accel")
def accel():
    """Where KVM does not work, auto ends in TCG quickly, and kvm by force fails with 125."""
    start = time.monotonic()
    with scratch() as cache:
        got = knarr("--accel", "auto", compiled("hello"), env={"XDG_CACHE_HOME": cache})
        check((got.status, got.stdout) == (0, b"Hello, world!\n"), f"{got.status} {got.stdout!r} {got.stderr!r}")
        first = time.monotonic() - start
        start = time.monotonic()
        knarr("--accel", "auto", compiled("hello"), env={"XDG_CACHE_HOME": cache})
        second = time.monotonic() - start
        check(first < 10, f"took {first:.1f} s")
        check(second < 5, f"the second time took {second:.1f} s")
    got = knarr("--accel", "tcg", compiled("hello"))
    check(got.stdout == b"Hello, world!\n", f"{got.stdout!r} {got.stderr!r}")


@test("report/trace")
def trace():
    with scratch() as directory:
        root = make_root(directory)
        got = knarr("--trace", "--root", root, "/bin/busybox", "cat", "/etc/motd", "/etc/none")
    text = got.stderr.decode()
    check(got.stdout == b"welcome\n", f"stdout {got.stdout!r}")
    for pattern in [r'open(at)?\((AT_FDCWD, )?"/etc/motd", O_RDONLY[A-Z|_]*\) = \d', r'"/etc/none", O_RDONLY[A-Z|_]*\) = -1 ENOENT',
                    r"exit_group\(1\)",
                    r"""write\(2, "cat: can't open '/etc/none': No "..., 55\) = 55"""]:
        check(re.search(pattern, text), f"no {pattern} in the trace: {text[-1500:]}")


@test("report/stats")
def stats():
    got = knarr("--stats", busybox(), "cat", stdin=b"abc")
    text = got.stderr.decode()
    check(got.stdout == b"abc", f"stdout {got.stdout!r}")
    check(re.search(r"\bread\b", text) and re.search(r"\bwrite\b|\bsendfile\b", text), text[-1000:])


@test("report/missing-files")
def missing_files():
    got = knarr("--missing-files", busybox(), "cat", "/etc/not-there", "/also/absent")
    text = got.stderr.decode()
    check("/etc/not-there" in text and "/also/absent" in text, text[-1000:])


@test("report/silent")
def silent():
    """Without -v nothing but the program's own output; with it the kernel's log on stderr."""
    got = knarr(compiled("hello"))
    check((got.stdout, got.stderr) == (b"Hello, world!\n", b""), f"{got.stdout!r} {got.stderr!r}")
    got = knarr("-vv", compiled("hello"))
    check(got.stdout == b"Hello, world!\n" and got.stderr != b"", f"{got.stdout!r} {got.stderr!r}")


@test("signals/term-to-program")
def term():
    """SIGTERM to knarr reaches the program."""
    import subprocess

    script = "trap 'echo terminated; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    child = subprocess.Popen([harness.KNARR, "run", busybox(), "sh", "-c", script], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        check(child.stdout.readline() == b"ready\n", "no start")
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=30)
        check(out == b"terminated\n" and child.returncode == 5, f"{child.returncode} {out!r} {err!r}")
    except subprocess.TimeoutExpired:
        raise Failure("no end after SIGTERM") from None
    finally:
        child.kill()
        child.wait()


@test("crash/kernel")
def kernel_crash():
    """A panic of the kernel is status 125, one line for the person, and a backtrace with names in the log."""
    for word, reason, where in [
        ("crash", r"panic", [r"fail_for_test", r"init_main"]),
        ("crash=fault", r"0xffffffffdead0000|ffffffffdead0000", [r"fail_for_test", r"init_main"]),
        ("crash=stack", r"kernel stack overflow", [r"recurse"]),
    ]:
        got = knarr("--kernel-arg", word, compiled("hello"))
        text = got.stderr.decode()
        check(got.status == 125 and got.stdout == b"", f"{word}: status {got.status} {got.stdout!r}")
        check(text.startswith("knarr: "), f"{word}: {text!r}")
        got = knarr("-v", "--kernel-arg", word, compiled("hello"))
        text = got.stderr.decode()
        for pattern in [reason, *where]:
            check(re.search(pattern, text), f"{word}: no {pattern} in {text!r}")
