"""The Debian package: what is in it, that it runs where it was unpacked, its manual pages and its completion."""
import os
import pathlib
import shutil

from harness import BUILD, KNARR, TOP, busybox, check, execute, scratch, tail, test


def make(work):
    done = execute([TOP / "scripts" / "deb.sh"], env={**os.environ, "BUILD": str(BUILD)})
    check(done.status == 0, f"deb.sh: {tail(done.stderr)}")
    package = pathlib.Path(done.stdout.decode().strip())
    kept = work / package.name
    shutil.move(package, kept)
    return kept


@test("package/deb")
def deb():
    with scratch() as directory:
        work = pathlib.Path(directory)
        first = make(work)
        data = first.read_bytes()
        check(make(work).read_bytes() == data, "made twice it is not the same")
        done = execute(["dpkg", "-x", first, work / "root"])
        check(done.status == 0, f"dpkg -x: {tail(done.stderr)}")
        program = work / "root" / "usr" / "bin" / "knarr"
        env = {key: value for key, value in os.environ.items() if key != "KNARR_KERNEL"}
        done = execute([program, "run", busybox(), "echo", "installed"], env=env)
        check(done.stdout == b"installed\n", f"knarr run: {done.status} {tail(done.stderr)}")
        fields = execute(["dpkg-deb", "-f", first, "Depends"]).stdout.decode()
        check("libc6 (>=" in fields and "qemu-system-x86" in fields, f"Depends: {fields}")


def commands():
    lines = execute([KNARR, "help"]).stdout.decode().split("\n")
    return [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] != "version"]


@test("package/manual")
def manual():
    """A page for each command with each of its options; groff has nothing to say about it."""
    with scratch() as work:
        check(execute(["python3", TOP / "scripts" / "manpages.py", KNARR, work]).status == 0, "manpages.py")
        pages = {page.name: page for page in pathlib.Path(work).iterdir()}
        check(set(pages) == {"knarr.1", *(f"knarr-{name}.1" for name in commands())}, f"pages: {sorted(pages)}")
        for name in commands():
            page = execute(["groff", "-man", "-Tascii", "-P-cbou", "-ww", pages[f"knarr-{name}.1"]])
            check(page.status == 0 and not page.stderr, f"{name}: {tail(page.stderr)}")
            text = page.stdout.decode()
            for line in execute([KNARR, name, "--help"]).stdout.decode().split("\n"):
                if line.startswith(("  -", "      --")):
                    option = line.split()[0].rstrip(",")
                    check(option in text, f"knarr-{name}.1 lacks {option}")


@test("package/completion")
def completion():
    script = f"""knarr() {{ {KNARR} "$@"; }}; . {TOP}/scripts/completion.bash
        try() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _knarr; echo "${{COMPREPLY[*]}}"; }}
        try knarr sh; try knarr run --add; try knarr build --form; try knarr logs --foll"""
    with scratch() as state:
        done = execute(["bash", "-c", script], env={**os.environ, "KNARR_STATE": state})
        check(done.stdout.decode().split("\n")[:4] == ["ship", "--add-host", "--format", "--follow"], f"{tail(done.stdout)} {tail(done.stderr)}")
