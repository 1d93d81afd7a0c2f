"""Each program of tests/guest on Linux and on Knarr: standard output and exit status must be the same, byte for byte.
Where Linux refuses a call that a program needs (status 77, NEEDS in check.h), only that Knarr ends it with status 0 is looked at.

What a program wants is written among its first lines:
    // build: musl glibc musl-pie glibc-pie   C libraries and kinds of executable (musl)
    // machines: microvm q35                  (microvm)
    // cpus: 1 2                              numbers of CPUs (1)
    // args: one "two words"                  arguments, quoted as in a shell
    // env: A=1 B=2                           environment
    // memory: 64M                            of the machine (128M)
    // options: --net none                    of knarr run
    // runner: none                           it is run by other tests only
"""
import shlex

from harness import GUEST, TESTS, Test, check, compare, compiled, directives, knarr, linux, tail

REFUSED = 77  # status of a program that needs a call which a sandbox around this Linux forbids (NEEDS in check.h)


def comparison(name, flavour, machine, cpus, wants):
    def function():
        program = compiled(name, flavour)
        args = shlex.split(wants.get("args", ""))
        env = dict(pair.split("=", 1) for pair in shlex.split(wants.get("env", "")))
        options = ["-m", wants.get("memory", "128M"), "--machine", machine, "--cpus", cpus]
        options += shlex.split(wants.get("options", ""))
        for pair in env.items():
            options += ["-e", "=".join(pair)]
        # On Linux argv[0] is the program's path; so it is made the same in the guest.
        on_linux, on_knarr = linux([program, *args], env), knarr(*options, program, *args)
        if on_linux.status == REFUSED:
            check(on_knarr.status == 0, f"Linux refused, and on Knarr: status {on_knarr.status}: {tail(on_knarr.stdout)}")
            return "Linux refused"
        compare(on_linux, on_knarr)
        return None

    return function


for source in sorted(GUEST.glob("*.c")):
    wants = directives(source)
    if wants.get("runner") == "none":
        continue
    for machine in wants.get("machines", "microvm").split():
        for flavour in wants.get("build", "musl").split():
            cpu_counts = wants.get("cpus", "1").split()
            if len(cpu_counts) > 1 and flavour != "musl" or machine != "microvm":
                cpu_counts = cpu_counts[-1:]
            for cpus in cpu_counts:
                extra = ([machine] if machine != "microvm" else []) + ([f"{cpus}cpus"] if cpus != "1" else [])
                label = "/".join(["guest", source.stem, flavour, *extra])
                TESTS.append(Test(label, comparison(source.stem, flavour, machine, cpus, wants)))
