"""Programs of other people, unmodified: busybox, bash, Go, SQLite, Lua. Each runs the same script on Linux and on Knarr."""
import pathlib
import shutil

import harness
from harness import BUILD, Failure, busybox, check, compare, execute, knarr, once, scratch, tail, test

SCRIPTS = pathlib.Path(__file__).parent / "scripts"


def noise(count, state=1):
    data = bytearray()
    while len(data) < count:
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        data += (state >> 16).to_bytes(6, "little")
    return bytes(data[:count])


def inputs(directory):
    """The files that the scripts read."""
    root = pathlib.Path(directory)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
    state = noise(4000, 7)
    (root / "words.txt").write_text("".join(words[b % 8] + ("\n" if b % 5 == 0 else " ") for b in state) + "\n")
    (root / "table.tsv").write_text("".join(f"{words[i * 3 % 5]}\t{i * 37 % 100}\tcolumn {i % 4}\n" for i in range(12)))
    (root / "noise.bin").write_bytes(noise(20000))


def third_party(name):
    """A program that third-party builds, built once."""
    path = BUILD / "third-party" / name
    with once(path):
        if not path.exists():
            done = execute([pathlib.Path(__file__).parent / "third-party", name, path.parent], timeout=600)
            if done.status:
                raise Failure(f"third-party {name}: " + tail(done.stderr, 10))
    return path


def same(argv, script, options=(), env=None, stdin=b""):
    """Runs argv with the script as its last argument in a directory of inputs: here, and as the root of a guest. What stands
    in argv for the script's place must be found at the same path by both, so it is relative to the directory."""
    with scratch() as here, scratch() as root:
        for directory in [here, root]:
            inputs(directory)
            for path in [argv[0], *([script] if script else [])]:
                shutil.copy(path, directory)
            (pathlib.Path(directory) / "tmp").mkdir()
        command = ["./" + pathlib.Path(argv[0]).name, *argv[1:], *([pathlib.Path(script).name] if script else [])]
        env = {"PATH": "/usr/bin:/bin", "HOME": "/", **(env or {})}
        want = execute(command, stdin, cwd=here, env=env)
        settings = [word for pair in env.items() for word in ("-e", "=".join(pair))]
        got = knarr("--root", root, *settings, *options, *command, stdin=stdin, timeout=240)
        compare(want, got)


@test("programs/busybox-applets")
def applets():
    same([busybox(), "sh"], SCRIPTS / "applets.sh", env={"BB": "./busybox"})


@test("programs/busybox-applets-q35-2cpus")
def applets_q35():
    same([busybox(), "sh"], SCRIPTS / "applets.sh", ["--machine", "q35", "--cpus", "2"], env={"BB": "./busybox"})


# Each in a boot of its own, without a shell: what the applets ask of the kernel as the only process.
SINGLE = ["sha256sum noise.bin", "sort words.txt", "gzip -c words.txt", "awk {print$2,$1} table.tsv", "sed s/a/b/g table.tsv", "od -tx1 noise.bin",
          "find . -name *.t*", "dd if=noise.bin bs=100 count=3", "bzip2 -c noise.bin", "tar -tf missing.tar", "ls /proc/self/fd", "wc -l words.txt"]


@test("programs/busybox-single")
def single():
    for line in SINGLE:
        same([busybox(), *line.split()], None)


def find_bash():
    for name in ["/bin/bash-static", "/usr/bin/bash-static"]:
        if pathlib.Path(name).exists():
            return name
    raise Failure("Debian's bash-static is not installed")


@test("programs/bash")
def bash():
    same([find_bash()], SCRIPTS / "bash.sh")


@test("programs/bash-2cpus")
def bash_2cpus():
    same([find_bash()], SCRIPTS / "bash.sh", ["--cpus", "2"])


def go_program():
    path, source = BUILD / "third-party" / "go-work", SCRIPTS / "work.go"
    with once(path):
        if not path.exists() or path.stat().st_mtime < source.stat().st_mtime:
            path.parent.mkdir(parents=True, exist_ok=True)
            env = {"PATH": "/usr/lib/go/bin:/usr/bin:/bin", "HOME": str(path.parent), "GOCACHE": str(path.parent / "go-cache"),
                   "CGO_ENABLED": "0", "GO111MODULE": "off", "GOFLAGS": "-p=2"}
            done = execute(["go", "build", "-o", path, source], timeout=600, env=env)
            if done.status:
                raise Failure("go build: " + tail(done.stderr))
    return path


@test("programs/go")
def go():
    same([go_program()], None)


@test("programs/go-2cpus")
def go_2cpus():
    same([go_program()], None, ["--cpus", "2"])


def statements():
    """A few thousand statements of SQL, and questions whose answers depend on all of them."""
    lines = ["PRAGMA journal_mode=DELETE;", "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, kind INTEGER);",
             "CREATE INDEX by_kind ON item(kind, price);", "CREATE TABLE kind(id INTEGER PRIMARY KEY, title TEXT UNIQUE);",
             "CREATE TRIGGER cheap AFTER UPDATE OF price ON item WHEN new.price < 1 BEGIN UPDATE item SET name = name || '!' WHERE id = new.id; END;"]
    lines += [f"INSERT INTO kind VALUES({i}, 'kind {i}');" for i in range(20)]
    for batch in range(15):
        lines.append("BEGIN;")
        lines += [f"INSERT INTO item VALUES({n}, 'item {n * 7919 % 1000}', {n * 37 % 1000 / 10}, {n % 20});" for n in range(batch * 100, batch * 100 + 100)]
        lines += [f"UPDATE item SET price = price * 1.1 WHERE id = {n * 13 % (batch * 100 + 100)};" for n in range(40)]
        lines += [f"DELETE FROM item WHERE id = {n * 17 % (batch * 100 + 100)};" for n in range(10)]
        lines.append("ROLLBACK;" if batch % 5 == 4 else "COMMIT;")
    lines += ["UPDATE item SET price = 0.5 WHERE kind = 3;", "SELECT count(*), round(sum(price), 3), max(name) FROM item;",
              "SELECT k.title, count(*), round(avg(price), 2) FROM item JOIN kind k ON k.id = kind GROUP BY k.id ORDER BY 3 DESC;",
              "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT sum(i * i % 97) FROM n;",
              "SELECT name, price FROM item WHERE name LIKE '%9_!' ORDER BY price, id LIMIT 5;",
              "INSERT INTO kind VALUES(500, 'kind 3');", "SELECT nothing FROM nowhere;",
              "CREATE VIRTUAL TABLE doc USING fts5(body);", "INSERT INTO doc SELECT name || ' of kind ' || kind FROM item;",
              "SELECT count(*) FROM doc WHERE doc MATCH 'item AND 7';", "SELECT hex(zeroblob(8)), typeof(1.0), printf('%08.3f', 3.14159);",
              "DELETE FROM item WHERE kind % 2;", "VACUUM;", "PRAGMA integrity_check;", "SELECT count(*) FROM item;",
              "PRAGMA journal_mode=WAL;", "UPDATE item SET price = price + 1;", "PRAGMA wal_checkpoint(TRUNCATE);",
              "SELECT round(sum(price), 3) FROM item;"]
    return "\n".join(lines) + "\n"


@test("programs/sqlite")
def sqlite():
    same([third_party("sqlite3"), "data.db"], None, stdin=statements().encode())


@test("programs/sqlite-memory")
def sqlite_memory():
    same([third_party("sqlite3"), ":memory:"], None, ["-m", "64M"], stdin=statements().encode())


@test("programs/lua")
def lua():
    same([third_party("lua")], SCRIPTS / "test.lua")
