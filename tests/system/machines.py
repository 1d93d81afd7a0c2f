"""Machines that have a monitor: knarr run -d and --name, ps, logs, stop, kill, wait, rm, inspect, stats, attach, restarts; and what is left when they end badly."""
import json
import os
import pathlib
import signal
import subprocess
import time

from harness import KNARR, busybox, check, execute, scratch, tail, test


class Machines:
    """A directory of states of its own."""

    def __init__(self, work):
        self.state = pathlib.Path(work) / "state"
        self.env = {**os.environ, "KNARR_STATE": str(self.state)}

    def __call__(self, *argv, status=0, **kwargs):
        done = execute([KNARR, *argv], env=self.env, **kwargs)
        check(status is None or done.status == status, f"{argv}: status {done.status}, not {status}: {tail(done.stdout)} {tail(done.stderr)}")
        return done

    def text(self, *argv, **kwargs):
        return self(*argv, **kwargs).stdout.decode()

    def start(self, name, script, *options):
        return self.text("run", "-d", "--name", name, *options, busybox(), "sh", "-c", script).strip()

    def inspect(self, name):
        return json.loads(self.text("inspect", name))[0]

    def refused(self, *argv, words):
        done = self(*argv, status=None)
        check(done.status == 125 and words in done.stderr.decode(), f"{argv}: {done.status} {tail(done.stderr)}")

    def until(self, what, condition):
        for _ in range(400):
            if condition():
                return
            time.sleep(0.05)
        check(False, f"it never came about: {what}")


def machines(function):
    """A test with machines of its own, of which none is left running."""
    def run():
        with scratch() as work:
            m = Machines(work)
            try:
                function(m, pathlib.Path(work))
            finally:
                left = m.text("ps", "-aq", "--no-trunc", status=None).split()
                if left:
                    m("rm", "-f", *left, status=None)
    return run


@test("machines/life")
@machines
def life(m, work):
    identity = m.start("web", "trap 'echo bye; exit 7' USR1; echo begun; echo trouble >&2; while :; do sleep 0.1; done",
                       "--stop-signal", "USR1", "-l", "tier=front", "-m", "64m")
    check(len(identity) == 64, f"the ID: {identity}")
    check("web" in m.text("ps") and m.text("ps", "-q").strip() == identity[:12], f"ps: {m.text('ps')}")
    m.until("its output", lambda: "begun" in m.text("logs", "web"))
    logs = m("logs", identity[:6])
    check(logs.stdout == b"begun\n" and logs.stderr == b"trouble\n", f"logs: {tail(logs.stdout)} {tail(logs.stderr)}")
    known = m.inspect("web")
    check(known["status"] == "running" and known["labels"] == ["tier=front"] and known["memory"] == 64 << 20, f"inspect: {known}")
    stats = m.text("stats", "--no-stream", "web")
    check(identity[:12] in stats and "67.1" in stats, f"stats: {stats}")
    m.refused("run", "-d", "--name", "web", busybox(), "true", words="has that name")
    done = m("rm", "web", status=1)
    check(b"runs" in done.stderr, f"rm of one that runs: {tail(done.stderr)}")
    waiting = subprocess.Popen([KNARR, "wait", "web"], env=m.env, stdout=subprocess.PIPE)
    following = subprocess.Popen([KNARR, "logs", "-f", "web"], env=m.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    check(m.text("stop", "web") == "web\n", "stop")
    check(waiting.communicate(timeout=20)[0] == b"7\n", "wait")
    check(following.communicate(timeout=20)[0] == b"begun\nbye\n", "logs -f ends with the machine")
    check("web" not in m.text("ps") and "Exited (7)" in m.text("ps", "-a"), f"ps -a: {m.text('ps', '-a')}")
    check(m.text("wait", "web") == "7\n", "wait for one that has ended")
    m.refused("attach", "web", words="does not run")
    m.refused("kill", "web", words="does not run")
    m("rm", "web")
    m.refused("logs", "web", words="no such machine")
    check(not list((m.state / "machines").iterdir()) and not list((m.state / "names").iterdir()), "something is left")


@test("machines/patience")
@machines
def patience(m, work):
    """A program that does not want to end is switched off when the time is over; kill ends one at once."""
    m.start("deaf", "trap '' TERM; echo begun; while :; do sleep 0.1; done")
    m.until("its output", lambda: "begun" in m.text("logs", "deaf"))
    begin = time.monotonic()
    m("stop", "-t", "1", "deaf")
    took = time.monotonic() - begin
    check(0.9 < took < 15 and m.inspect("deaf")["exitCode"] == 137, f"stop took {took} s: {m.inspect('deaf')}")
    m.start("victim", "trap 'echo hup' HUP; echo begun; while :; do sleep 0.1; done")
    m.until("its output", lambda: "begun" in m.text("logs", "victim"))
    m("kill", "-s", "HUP", "victim")
    m.until("the signal", lambda: "hup" in m.text("logs", "victim"))
    m("kill", "victim")
    m.until("its end", lambda: m.inspect("victim")["status"] == "exited")
    check(m.inspect("victim")["exitCode"] == 137, "kill")
    m("rm", "-f", "deaf", "victim")


@test("machines/failures")
@machines
def failures(m, work):
    """What does not start says why, with the status that it has in the foreground."""
    done = m("run", "-d", "--name", "none", "--root", work, "/no/such/program", status=None)
    check(done.status == 127 and not done.stdout and b"no" in done.stderr, f"not found: {done.status} {tail(done.stderr)}")
    (work / "script").write_text("#!/no/interpreter\n")
    (work / "script").chmod(0o755)
    done = m("run", "-d", "--root", work, "/script", status=None)
    check(done.status in (126, 127) and not done.stdout, f"no interpreter: {done.status} {tail(done.stderr)}")
    quick = m.start("quick", "exit 5")
    check(len(quick) == 64, "one that is quick has run")
    check(m.text("wait", "quick") == "5\n", "its status")
    m.refused("run", "-d", "--name", "a/b", busybox(), "true", words="a name has")
    m.refused("run", "--restart", "sometimes", busybox(), words="no such choice")
    m.refused("run", "--restart", "always:3", busybox(), words="on-failure alone")
    m.refused("run", "--stop-signal", "SIGNOT", busybox(), words="no such signal")
    m.refused("run", "--health-cmd", "true", busybox(), words="health")


@test("machines/foreground")
@machines
def foreground(m, work):
    """--name alone: as without, and known meanwhile and afterwards; with --rm only meanwhile."""
    script = "read x; echo got $x; echo no >&2; exit 3"
    done = m("run", "--name", "front", busybox(), "sh", "-c", script, stdin=b"words\n", status=3)
    check(done.stdout == b"got words\n" and done.stderr == b"no\n", f"{done.stdout} {done.stderr}")
    check(m.inspect("front")["exitCode"] == 3 and m.text("logs", "front") == "got words\n", "it is known afterwards")
    m("rm", "front")
    big = m("run", "--rm", "--name", "big", busybox(), "sh", "-c", "head -c 30000000 /dev/zero; cat >&2", stdin=b"x" * 1000000)
    check(len(big.stdout) == 30000000 and big.stderr == b"x" * 1000000, f"much of it: {len(big.stdout)} {len(big.stderr)}")
    check(m.text("ps", "-aq") == "", "--rm")
    running = subprocess.Popen([KNARR, "run", "--rm", "--name", "sig", busybox(), "sh", "-c", "trap 'exit 9' INT; echo ready; while :; do sleep 0.1; done"],
                               env=m.env, stdout=subprocess.PIPE)
    check(running.stdout.readline() == b"ready\n", "it runs")
    check("sig" in m.text("ps"), "ps knows it")
    running.send_signal(signal.SIGINT)
    check(running.wait(20) == 9, "signals reach it")


@test("machines/attach")
@machines
def attach(m, work):
    """Two that are attached hear the same; what is typed reaches it; who leaves does not end it."""
    m.start("echo", "while read line; do echo \"<$line>\"; done; echo end", "-i")
    first, second = (subprocess.Popen([KNARR, "attach", "echo"], env=m.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2))
    time.sleep(0.5)
    first.stdin.write(b"one\n")
    first.stdin.flush()
    check(first.stdout.readline() == b"<one>\n" and second.stdout.readline() == b"<one>\n", "both hear it")
    first.kill()
    first.wait()
    second.stdin.write(b"two\n")
    second.stdin.flush()
    check(second.stdout.readline() == b"<two>\n", "it goes on")
    check(m.inspect("echo")["status"] == "running", "it runs on")
    second.stdin.close()
    check(second.stdout.read() == b"end\n" and second.wait(20) == 0, "its input's end, its status")
    check(m.text("logs", "--tail", "2", "echo") == "<two>\nend\n", f"the log: {m.text('logs', 'echo')}")


@test("machines/restart")
@machines
def restart(m, work):
    m.start("again", "echo life; exit 4", "--restart", "on-failure:2")
    m.until("its last end", lambda: m.inspect("again")["status"] == "exited")
    check(m.text("logs", "again") == "life\n" * 3 and m.inspect("again")["restarts"] == 2, f"lives: {m.text('logs', 'again')}")
    m.start("ever", "echo life; sleep 0.2", "--restart", "always")
    m.until("its second life", lambda: m.text("logs", "ever").count("life") >= 2)
    m("stop", "-t", "0", "ever")
    m.until("its end", lambda: m.inspect("ever")["status"] == "exited")
    lives = m.text("logs", "ever").count("life")
    time.sleep(1)
    check(m.text("logs", "ever").count("life") == lives, "it was started again after a stop")


@test("machines/lost")
@machines
def lost(m, work):
    """A monitor that was killed takes its machine with it; ps tells, rm forgets."""
    m.start("poor", "echo begun; while :; do sleep 1; done")
    m.until("its output", lambda: "begun" in m.text("logs", "poor"))
    monitor = m.inspect("poor")["pid"]
    children = execute(["ps", "-o", "pid=", "--ppid", str(monitor)]).stdout.split()
    os.kill(monitor, signal.SIGKILL)
    m.until("QEMU's end", lambda: not any(os.path.exists(f"/proc/{int(pid)}") and "Z" not in open(f"/proc/{int(pid)}/stat").read().split(")")[1][:4]
                                          for pid in children))
    check("Exited (lost)" in m.text("ps", "-a") and m.inspect("poor")["status"] == "exited", f"ps: {m.text('ps', '-a')}")
    check(m.text("wait", "poor") == "125\n", "wait")
    m("stop", "poor")
    check("begun" in m.text("logs", "-f", "poor"), "its log is there, and ends")
    m("rm", "poor")


@test("machines/log-size")
@machines
def log_size(m, work):
    """The log is bounded; what is not UTF-8, and lines without end, are kept as docker keeps them."""
    m.start("loud", r"i=0; while [ $i -lt 3000 ]; do echo line $i xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; i=$((i+1)); done; printf 'a\377b\n\001\042\\'; head -c 20000 /dev/zero | tr '\0' y",
            "--log-size", "64k")
    m("wait", "loud")
    files = {p.name: p.stat().st_size for p in (m.state / "machines" / m.inspect("loud")["id"]).iterdir() if p.name.startswith("log")}
    check(set(files) == {"log", "log.1"} and all(size <= 65536 for size in files.values()), f"files: {files}")
    text = execute([KNARR, "logs", "loud"], env=m.env).stdout
    check(text.endswith("a�b\n\x01\"\\".encode() + b"y" * 20000) and b"line 2999 " in text and b"line 0 " not in text, f"the log: {text[-200:]}")


@test("machines/nonsense")
@machines
def nonsense(m, work):
    """Who talks nonsense to a monitor is let go, and the machine does not mind."""
    import socket
    m.start("calm", "echo begun; while :; do sleep 0.1; done")
    directory = os.open(m.state / "machines" / m.inspect("calm")["id"], os.O_RDONLY)
    for words in [b"", b"\0\0\0\0", b"O\0\1\0x", b"a\1\0\0", b"I\0\1\0x", b"a\0\1\0\1I\0\xff\xff" + b"x" * 65535, b"s\0\0\0", b"k\0\1\0\0", b"x\0\1\0r" * 3, b"t\0\0\0" * 50]:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"/proc/self/fd/{directory}/monitor.sock")
            try:
                s.sendall(words)
            except OSError:
                pass
    os.close(directory)
    m.until("its output", lambda: "begun" in m.text("logs", "calm"))
    check(m.inspect("calm")["status"] in ("running", "exited"), "ps")
    check("calm" in m.text("ps", "-a"), "it is known")
    m("rm", "-f", "calm")


# ---- exec ------------------------------------------------------------------------------------------------------------

BOX = "/" + os.path.basename(busybox())  # in the guest


def sleeper(m, name="host"):
    m.start(name, "echo begun; while :; do sleep 0.2; done", "-e", "COLOUR=red")
    m.until("its output", lambda: "begun" in m.text("logs", name))


@test("machines/exec")
@machines
def executes(m, work):
    """Exit status, environment, directory, user, streams; several at once; what is missing; much data both ways; detached."""
    sleeper(m)

    def sh(script, *options, **kwargs):
        return m("exec", *options, "host", BOX, "sh", "-c", script, **kwargs)

    check(sh("exit 7", status=7).stdout == b"", "its status")
    sh("kill -TERM $$", status=128 + 15)
    done = sh("echo $COLOUR $X; pwd; id -u; id -g; echo no >&2; cat; echo end", "-e", "X=1 2", "-w", "/tmp", "-u", "12:34")
    check(done.stdout == b"red 1 2\n/tmp\n12\n34\nend\n" and done.stderr == b"no\n", f"{done.stdout} {done.stderr}")
    check(sh("id -u; id -g", "-u", "7").stdout == b"7\n7\n", "-u without a group")
    done = m("exec", "host", "/no/such", status=127)
    check(b"/no/such" in done.stderr, f"missing: {done.stderr}")
    m("exec", "host", "nothing", status=127)
    m("exec", "host", "/etc/hosts", status=126)
    data = os.urandom(1 << 20) * 3
    done = m("exec", "-i", "host", BOX, "cat", stdin=data)
    check(done.stdout == data, f"through cat: {len(done.stdout)} of {len(data)} bytes")
    check(sh("head -c 5; cat >/dev/null", "-i", stdin=data[:100000]).stdout == data[:5], "who does not read all")
    sh("exec <&-; sleep 0.3; exit 4", "-i", stdin=data, status=4)
    several = [subprocess.Popen([KNARR, "exec", "-i", "host", BOX, "sh", "-c", f"cat; exit {i}"], env=m.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
               for i in range(6)]
    for i, p in enumerate(several):
        out = p.communicate(b"%d" % i * 50000, timeout=30)[0]
        check(p.returncode == i and out == b"%d" % i * 50000, f"the {i}th: {p.returncode}, {len(out)} bytes")
    tty = sh("tty; stty size; echo word", "-t").stdout
    check(b"/dev/pts/" in tty and tty.endswith(b"word\r\n"), f"-t: {tty}")
    check(m("exec", "-d", "host", BOX, "sh", "-c", "sleep 0.3; echo x >/tmp/made").stdout == b"", "-d")
    m.until("what the detached does", lambda: m("exec", "host", BOX, "cat", "/tmp/made", status=None).stdout == b"x\n")
    m("exec", "-d", "host", "/no/such", status=127)
    m.refused("exec", "host", words="which program")
    m.refused("exec", "nobody", "true", words="no such machine")


@test("machines/exec-ends")
@machines
def exec_ends(m, work):
    """Signals reach it; who executes and dies leaves it alone; the machine's end is its end."""
    sleeper(m)

    def begin(script, **kwargs):
        p = subprocess.Popen([KNARR, "exec", "host", BOX, "sh", "-c", "trap 'exit 9' INT; echo ready; " + script], env=m.env, stdout=subprocess.PIPE, **kwargs)
        check(p.stdout.readline() == b"ready\n", script)
        return p

    p = begin("while :; do sleep 0.1; done")
    p.send_signal(signal.SIGINT)
    check(p.wait(20) == 9, f"a signal: {p.returncode}")
    p.stdout.close()
    p = begin("i=0; while [ $i -lt 20000 ]; do echo $i xxxxxxxxxxxxxxxxxxxxxxxx; i=$((i+1)); done; echo over >/tmp/over")
    p.kill()
    p.wait()
    p.stdout.close()
    m.until("its end", lambda: m("exec", "host", BOX, "cat", "/tmp/over", status=None).stdout == b"over\n")
    p = begin("while :; do sleep 1; done", stderr=subprocess.PIPE)
    m("kill", "host")
    check(p.wait(20) == 137 and b"has ended" in p.stderr.read(), f"the machine's end: {p.returncode}")
    m.refused("exec", "host", BOX, "true", words="does not run")
