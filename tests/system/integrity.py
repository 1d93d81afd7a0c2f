"""File systems under random operations, compared with models in memory (tests/guest/fsx.c: one file; tests/guest/fsstress.c: a tree of
names): in memory, above an image, on a host's directory and on a disk. INTEGRITY_SECONDS=N makes each run longer than the few
seconds it has among the other tests; `make integrity` does."""
import os
import pathlib
import subprocess

from harness import KNARR, check, compiled, execute, knarr, scratch, tail, test

SECONDS = int(os.environ.get("INTEGRITY_SECONDS", "4"))
OPERATIONS = 800 * SECONDS
SEED = os.environ.get("INTEGRITY_SEED", "1")


def disk(directory, size="256M", *options):
    path = pathlib.Path(directory, "disk")
    subprocess.run(["truncate", "-s", size, path], check=True)
    made = execute(["mkfs.ext4", "-q", "-F", *options, path])
    check(made.status == 0, "mkfs.ext4: " + tail(made.stderr))
    return path


def clean(path):
    """e2fsck finds nothing, not even something that it would mend by itself."""
    got = execute(["e2fsck", "-fn", path])
    check(got.status == 0, f"e2fsck {got.status}: {tail(got.stdout, 12)}")


def right(got, wanted):
    check(got.status == 0 and got.stdout.decode("utf-8", "replace").rstrip().endswith(wanted),
          f"status {got.status}: {tail(got.stdout, 30)} / {tail(got.stderr, 8)}")


def both(where, *options, memory="128M", limit=0):
    """fsx and fsstress in the guest's directory `where`."""
    timeout = 90 + 20 * SECONDS + limit
    right(knarr(*options, "-m", memory, "--cpus", "2", compiled("fsx"), where, SECONDS, SEED, timeout=timeout), "every byte was right")
    right(knarr(*options, "-m", memory, "--cpus", "2", compiled("fsstress"), where, OPERATIONS, SEED, 3, timeout=timeout),
          "3 of 3 processes found everything right")


@test("integrity/tmpfs")
def tmpfs():
    both("/tmp")


def lower(directory):
    """An image with a file and trees that the programs go on with."""
    root = pathlib.Path(directory, "root")
    (root / "data").mkdir(parents=True)
    (root / "new").mkdir()
    (root / "data" / "file").write_bytes(os.urandom(500000))
    made = execute([compiled("fsstress"), "--keep", root / "data", OPERATIONS, SEED, 3, 0]) # /dev/shm has no attributes
    check(made.status == 0, tail(made.stdout))
    image = pathlib.Path(directory, "image")
    made = execute([KNARR, "pack", "-o", image, root])
    check(made.status == 0, tail(made.stderr))
    return image


def overlay(memory, name):
    @test(f"integrity/overlay{name}")
    def function():
        with scratch() as directory:
            image = lower(directory)
            both("/new", "--root", image, memory=memory)
            timeout = 90 + 20 * SECONDS
            right(knarr("--root", image, "-m", memory, compiled("fsx"), "/data/file", SECONDS, SEED, timeout=timeout), "every byte was right")
            right(knarr("--root", image, "-m", memory, "--cpus", "2", compiled("fsstress"), "--more", "/data", OPERATIONS, SEED, 3, 0, timeout=timeout),
                  "3 of 3 processes found everything right")


overlay("128M", "")


@test("integrity/volume")
def volume():
    with scratch() as directory:
        both("/data", "-v", f"{directory}:/data")
        left = os.listdir(directory)
        check(not left, f"left on the host: {left}")


def on_disk(name, memory, *options):
    @test(f"integrity/disk{name}")
    def function():
        with scratch() as directory:
            path = disk(directory, "256M", *options)
            both("/data", "--disk", f"{path}:/data", memory=memory)
            clean(path)
            # What one boot leaves another finds.
            timeout = 90 + 20 * SECONDS
            for mode in ["--keep", "--more"]:
                right(knarr("--disk", f"{path}:/data", "-m", memory, "--cpus", "2", compiled("fsstress"), mode, "/data", OPERATIONS, SEED, 3,
                            timeout=timeout), "3 of 3 processes found everything right")
                clean(path)


on_disk("", "128M")
on_disk("-small-memory", "24M")
on_disk("-1k-blocks", "64M", "-b", "1024")
