"""Debian's stress-ng, unmodified and dynamically linked: its stressors verify what they do, and the kernel must have nothing to say.
Also the program behind `make stress`: stress.py [SECONDS [NAME...]] runs each for so long and prints a table."""
import os
import re
import shutil
import sys
import tempfile

import harness
from harness import Failure, check, execute, knarr, once, tail, test

# Each by itself for as long as wanted; and what else belongs to processes, signals and waiting.
FIRST = ["cpu", "vm", "fork", "futex", "pipe", "signal", "timer", "mmap", "switch"]
SIGNALS = ["sigabrt", "sigchld", "sigfd", "sigpending", "sigq", "sigrt", "sigsegv", "sigsuspend", "sigtrap", "itimer", "timerfd"]
_roots = {}


def root():
    """A directory with stress-ng and the libraries that it is linked with; made once, gone at the end."""
    with once("stress-ng"):
        if "root" not in _roots:
            program = shutil.which("stress-ng")
            if not program:
                raise Failure("Debian's stress-ng is not installed")
            _roots["root"] = directory = tempfile.TemporaryDirectory(prefix="knarr-stress-")
            listed = execute(["ldd", program])
            files = [program, *re.findall(r"/\S+", listed.stdout.decode())]
            for path in files:
                target = directory.name + path
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy(os.path.realpath(path), target)
            os.mkdir(directory.name + "/tmp")
    return _roots["root"].name


def run(names, cpus, seconds, instances="2", kernel=()):
    """One boot with the stressors one after another. Their count of operations by name, or Failure."""
    with tempfile.NamedTemporaryFile("w", dir=root(), prefix="job-") as job:
        job.write("".join(["run sequential\n", *(f"{name} {instances}\n" for name in names)]))
        job.flush()
        os.chmod(job.name, 0o644)
        got = knarr("-v", *kernel, "-m", "512M", "--cpus", cpus, "--root", root(), "/usr/bin/stress-ng", "--temp-path", "/tmp",
                    "--timeout", f"{seconds}s", "--verify", "--metrics-brief", "--no-rand-seed", "--job",
                    "/" + os.path.basename(job.name), timeout=60 + len(names) * (seconds + 20))
    text = (got.stdout + got.stderr).decode("utf-8", "replace")
    said = [line for line in text.splitlines() if re.match(r"(error|warning|knarr): ", line)]
    check(not said, "the kernel said: " + " | ".join(said[:12]))
    wrong = [line for line in text.splitlines() if re.match(r"stress-ng: (fail|error|warn)", line) and "no CPUs found" not in line]
    check(got.status == 0 and not wrong, f"status {got.status}: " + " | ".join(wrong[:6]) + tail(got.stderr))
    done = {name: int(ops) for name, ops in re.findall(r"metrc: \[\d+\] (\S+) +(\d+) ", text)}
    missing = [name for name in names if name not in done]
    check(not missing, f"did not run: {missing}")
    return done


def stressors(names, cpus, seconds):
    return lambda: run(names, cpus, seconds)


for count in ["1", "2"]:
    test(f"stress/first-{count}cpus")(stressors(FIRST, count, 2))
    test(f"stress/signals-{count}cpus")(stressors(SIGNALS, count, 1))


def main(arguments):
    seconds = int(arguments[0]) if arguments else 30
    failed = 0
    print(f"{'stressor':16} {'1 CPU':>12} {'2 CPUs':>12}   operations in {seconds} s")
    for name in arguments[1:] or FIRST + SIGNALS:
        cells, why = [], []
        for cpus in ["1", "2"]:
            try:
                cells.append(str(run([name], cpus, seconds)[name]))
            except Failure as failure:
                cells.append("failed")
                why.append(f"    {cpus} CPUs: {failure}")
                failed += 1
        print(f"{name:16} {cells[0]:>12} {cells[1]:>12}", *why, sep="\n", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
