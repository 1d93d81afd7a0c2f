"""CPython's own tests of what it asks of the kernel: Debian's python3.11 and its test suite, unmodified, in a guest."""
import pathlib
import re
import shutil

import containers
from harness import Failure, check, knarr, place, scratch, tail, test

PYTHON = "/usr/bin/python3.11"
LIBRARY = pathlib.Path("/usr/lib/python3.11")

# What the machine cannot do; everything else of a module is run.
WITHOUT = {
    "test_invalid_socket": "TCP", "test_set_wakeup_fd_socket_result": "TCP", # test_signal
    "test_fcntl_64_bit": "dnotify",                                          # test_fcntl
    "test_accept": "TCP",                                                    # test_eintr
}


def fill(root):
    if not (LIBRARY / "test" / "test_signal.py").exists():
        raise Failure("Debian's libpython3.11-testsuite is not installed")
    containers.applets(root)
    place(root, PYTHON, *LIBRARY.glob("lib-dynload/*.so"))
    place(root, "/lib/x86_64-linux-gnu/libgcc_s.so.1") # for pthread_exit
    shutil.copytree(LIBRARY, root + str(LIBRARY), dirs_exist_ok=True, symlinks=False, ignore_dangling_symlinks=True,
                    ignore=shutil.ignore_patterns("__pycache__", "config-*", "cjkencodings", "xmltestdata", "idlelib", "tkinter"))
    etc = pathlib.Path(root, "etc")
    etc.mkdir()
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (etc / "group").write_text("root:x:0:\n")
    pathlib.Path(root, "root").mkdir()


def modules(names, least, *options):
    with scratch() as root:
        fill(root)
        ignored = [word for name in WITHOUT for word in ("-i", name)]
        got = knarr("--root", root, "-m", "1G", "-e", "PATH=/bin:/usr/bin", "-e", "HOME=/root", *options, PYTHON, "-m", "test.regrtest", "-v",
                    *ignored, *names, timeout=420)
    text = got.stdout + got.stderr
    ran = sum(int(n) for n in re.findall(rb"^Ran (\d+) tests?", text, re.M))
    failed = sorted({line.decode() for line in re.findall(rb"^(?:ERROR|FAIL): \w+", text, re.M)})
    check(got.status == 0 and not failed and ran >= least, f"status {got.status}, {ran} ran, {failed} {tail(text, 8)}")


@test("cpython/processes")
def processes():
    modules(["test_subprocess", "test_fork1", "test_wait3", "test_wait4", "test_posix", "test_pty"], 400, "--cpus", "2")


@test("cpython/threads-and-signals")
def threads_and_signals():
    modules(["test_threading", "test_threadsignals", "test_signal", "test_thread", "test_resource"], 250, "--cpus", "2")


@test("cpython/waiting")
def waiting():
    modules(["test_select", "test_poll", "test_selectors", "test_fcntl", "test_mmap", "test_ioctl"], 100)
