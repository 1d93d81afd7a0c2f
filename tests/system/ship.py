"""`knarr ship` and `knarr pull` against Debian's docker-registry, and against registries that lie, refuse and stall."""
import base64
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import threading
import time

from harness import KNARR, check, execute, once, scratch, tail, test, WORK

CONFIG = """version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %(directory)s}}
http: {addr: "127.0.0.1:%(port)d"}
%(auth)s
"""
LAYER = "application/vnd.knarr.image.disk.v1.raw+zstd"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def registry(directory, auth=""):
    """Debian's docker-registry on loopback; gives its address."""
    port = free_port()
    config = pathlib.Path(directory) / "registry.yml"
    config.write_text(CONFIG % {"directory": pathlib.Path(directory) / "registry", "port": port, "auth": auth})
    server = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def image():
    """A small image of knarr build, made once."""
    with once("ship-image"):
        path = WORK / "ship" / "app.img"
        if not path.exists() or path.stat().st_mtime < KNARR.stat().st_mtime:
            path.parent.mkdir(parents=True, exist_ok=True)
            done = execute([KNARR, "build", "-o", path, "/bin/true"])
            check(done.status == 0, f"build: {tail(done.stderr)}")
        return path


def knarr(*argv, **kwargs):
    return execute([KNARR, *argv], **kwargs)


def refused(done, words):
    check(done.status == 125 and words in done.stderr.decode() and done.stderr.count(b"\n") == 1,
          f"expected 125 and '{words}': {done.status} {tail(done.stdout)} {tail(done.stderr)}")


@test("ship/round-trip")
def round_trip():
    with scratch() as work, registry(work) as host:
        work = pathlib.Path(work)
        shipped = knarr("ship", image(), f"{host}/team/app:v1")
        check(shipped.status == 0, f"ship: {tail(shipped.stderr)}")
        digest = shipped.stdout.decode().strip()
        again = knarr("ship", image(), f"{host}/team/app")
        check(again.stdout == shipped.stdout, "the same image has two manifests")
        for name in [f"{host}/team/app:v1", f"{host}/team/app", f"{host}/team/app@{digest}"]:
            pulled = knarr("pull", "-o", work / "got.img", name)
            check(pulled.status == 0 and pulled.stdout.decode().split() == [str(work / "got.img"), digest], f"pull: {tail(pulled.stderr)}")
            check((work / "got.img").read_bytes() == image().read_bytes(), "another image came back")
            (work / "got.img").unlink()
        named = knarr("pull", f"{host}/team/app:v1", cwd=work)
        check(named.status == 0 and (work / "app.img").exists(), f"the name it was shipped under: {tail(named.stderr)}")
        manifest = json.loads(execute(["curl", "-s", "-H", "Accept: application/vnd.oci.image.manifest.v1+json",
                                       f"http://{host}/v2/team/app/manifests/v1"]).stdout)
        check(manifest["layers"][0]["mediaType"] == LAYER, f"the manifest: {manifest}")
        config = json.loads(execute(["curl", "-s", f"http://{host}/v2/team/app/blobs/{manifest['config']['digest']}"]).stdout)
        check("config" in config and config["os"] == "linux", f"the configuration: {config}")
        refused(knarr("pull", f"{host}/team/app:v2", cwd=work), "v2: there is no such thing")
        refused(knarr("pull", f"{host}/nobody", cwd=work), "there is no such thing")
        refused(knarr("ship", "/bin/true", f"{host}/team/app"), "/bin/true")
        refused(knarr("ship", work / "absent", f"{host}/team/app"), "No such file")
        refused(knarr("pull", f"127.0.0.1:{free_port()}/app", cwd=work), "127.0.0.1")
        refused(knarr("pull", "app"), "which registry?")


@test("ship/password")
def password():
    """htpasswd's bcrypt line is of the user `me` with the password `secret`."""
    with scratch() as work:
        work = pathlib.Path(work)
        line = execute(["python3", "-c", "import crypt; print('me:' + crypt.crypt('secret', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))"]).stdout
        (work / "htpasswd").write_bytes(line.replace(b"$2b$", b"$2y$"))
        with registry(work, f"auth: {{htpasswd: {{realm: test, path: {work}/htpasswd}}}}") as host:
            credentials = work / "auth.json"

            def ship(secret):
                auth = base64.b64encode(f"me:{secret}".encode()).decode()
                credentials.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
                return knarr("ship", image(), f"{host}/app", env={**os.environ, "REGISTRY_AUTH_FILE": str(credentials)})

            refused(knarr("ship", image(), f"{host}/app", env={**os.environ, "REGISTRY_AUTH_FILE": str(work / "none")}), "not allowed")
            refused(ship("wrong"), "not allowed")
            done = ship("secret")
            check(done.status == 0, f"ship: {tail(done.stderr)}")


class Liar(http.server.BaseHTTPRequestHandler):
    """Answers from a table of paths: bytes, or a function of the handler."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        answer = self.server.answers.get(self.path.split("?")[0])
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        if callable(answer):
            answer(self)
        elif answer is None:
            self.send(404, b"{}")
        else:
            self.send(200, answer)

    def send(self, status, body, **headers):
        self.send_response(status)
        self.send_header("Content-Length", len(body))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def liar():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    server.daemon_threads, server.answers, server.seen = True, {}, []
    server.handle_error = lambda *words: None  # who is lied to hangs up
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def truth(server):
    """What the real registry says of the image, as the liar's answers; returns the manifest."""
    with scratch() as work, registry(work) as host:
        check(knarr("ship", image(), f"{host}/app").status == 0, "ship")

        def get(path):
            return execute(["curl", "-s", "-H", "Accept: application/vnd.oci.image.manifest.v1+json", f"http://{host}{path}"]).stdout

        manifest = json.loads(get("/v2/app/manifests/latest"))
        server.answers["/v2/app/manifests/latest"] = json.dumps(manifest).encode()
        for part in [manifest["config"], *manifest["layers"]]:
            server.answers["/v2/app/blobs/" + part["digest"]] = get("/v2/app/blobs/" + part["digest"])
        return manifest


@test("ship/registry-that-lies")
def lies():
    with liar() as server, scratch() as work:
        work = pathlib.Path(work)
        manifest = truth(server)
        honest = dict(server.answers)
        layer, config = manifest["layers"][0], manifest["config"]
        blob = "/v2/app/blobs/" + layer["digest"]
        top = "/v2/app/manifests/latest"
        name = f"127.0.0.1:{server.server_port}/app"

        def pull(words, change={}, target=name):
            server.answers = {**honest, **change}
            refused(knarr("pull", target, cwd=work), words)
            check(not list(work.iterdir()), f"something is left of a lie about '{words}': {list(work.iterdir())}")

        def altered(**changes):
            """The manifest with other words in its layer, which are true of nothing."""
            other = json.loads(json.dumps(manifest))
            for key, value in changes.items():
                (other["layers"][0]["annotations"] if key.startswith("knarr.") else other["layers"][0])[key] = value
            return {top: json.dumps(other).encode()}

        data = honest[blob]
        pull("sends something else", {blob: data[:-1] + bytes([data[-1] ^ 1])})
        pull("sends less", {blob: data[:-1]})
        pull("sends more", {blob: data + b"x"})
        pull("sends something else", {"/v2/app/blobs/" + config["digest"]: honest["/v2/app/blobs/" + config["digest"]].replace(b"{", b" ", 1)})
        pull("there is no such thing", {blob: None})
        pull("the registry sends another manifest", target=f"{name}@{sha(b'other')}", change={f"/v2/app/manifests/{sha(b'other')}": honest[top]})
        pull("not JSON", {top: b"<html>"})
        pull("not an image of Knarr's", {top: b"{}"})
        pull("not an image of Knarr's", {top: json.dumps({**manifest, "config": {**config, "mediaType": "application/vnd.oci.image.config.v1+json"}}).encode()})
        pull("of a kind that this knarr does not know", altered(mediaType="application/octet-stream"))
        pull("of a kind that this knarr does not know", altered(digest="sha256:../../etc/passwd"))
        pull("of a kind that this knarr does not know", altered(size=-1))
        pull("has no size", altered(**{"knarr.disk.size": "-1"}))
        pull("larger than its description says", altered(**{"knarr.disk.size": "4096"}))
        pull("ends too early", altered(**{"knarr.disk.size": str(1 << 40)}))
        pull("not the one that was shipped", altered(**{"knarr.disk.digest": sha(b"")}))
        junk = b"no zstd at all"
        pull("damaged", {**altered(digest=sha(junk), size=len(junk)), "/v2/app/blobs/" + sha(junk): junk})
        pull("larger than", {top: b"[" * (5 << 20)})
        server.answers = honest
        (work / "sub").mkdir()
        odd = json.loads(json.dumps(manifest))
        odd["layers"][0]["annotations"]["org.opencontainers.image.title"] = "../out.img"
        server.answers = {**honest, top: json.dumps(odd).encode()}
        done = knarr("pull", name, cwd=work / "sub")
        check(done.status == 0 and not (work / "out.img").exists() and (work / "sub" / "knarr.img").exists(), f"a title with a path: {tail(done.stderr)}")


@test("ship/tokens-and-redirections")
def tokens():
    """A registry that wants a token bought with the stored password, and has its blobs elsewhere: the token does not go there."""
    with liar() as server, liar() as elsewhere, scratch() as work:
        work = pathlib.Path(work)
        manifest = truth(server)
        honest = dict(server.answers)
        host = f"127.0.0.1:{server.server_port}"
        blob = "/v2/app/blobs/" + manifest["layers"][0]["digest"]

        def guarded(path):
            def answer(handler):
                if handler.headers.get("Authorization") != "Bearer bought":
                    handler.send(401, b"{}", WWW_Authenticate=f'Bearer realm="http://{host}/token",service="me & you"')
                elif path == blob:
                    handler.send(307, b"", Location=f"http://localhost:{elsewhere.server_port}/store")
                else:
                    handler.send(200, honest[path])
            return answer

        def token(handler):
            good = handler.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:secret").decode()
            handler.send(200 if good else 401, json.dumps({"token": "bought"}).encode())

        server.answers = {path: guarded(path) for path in honest}
        server.answers["/token"] = token
        elsewhere.answers["/store"] = honest[blob]
        (work / "auth.json").write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"me:secret").decode()}}}))
        env = {**os.environ, "REGISTRY_AUTH_FILE": str(work / "auth.json")}
        done = knarr("pull", "-o", work / "got.img", f"{host}/app", env=env)
        check(done.status == 0 and (work / "got.img").read_bytes() == image().read_bytes(), f"pull: {tail(done.stderr)}")
        asked = [path for path, _ in server.seen if path.startswith("/token")]
        check(asked == ["/token?service=me%20%26%20you&scope=repository%3Aapp%3Apull"], f"tokens: {asked}")
        check(elsewhere.seen == [("/store", None)], f"the token went elsewhere: {elsewhere.seen}")
        refused(knarr("pull", "-o", work / "no.img", f"{host}/app", env={**env, "REGISTRY_AUTH_FILE": "/dev/null", "HOME": str(work)}), "not allowed")


@test("ship/nothing-half-written")
def interrupted():
    """A full disk, Ctrl-C while the registry takes its time: an older image stays, nothing else is there."""
    with liar() as server, scratch() as work:
        work = pathlib.Path(work)
        manifest = truth(server)
        name = f"127.0.0.1:{server.server_port}/app"
        old = work / "app.img"
        old.write_bytes(b"old")
        done = knarr("pull", name, cwd=work, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14)))
        refused(done, "File too large")
        began = threading.Event()

        def stall(handler):
            handler.send_response(200)
            handler.send_header("Content-Length", str(manifest["layers"][0]["size"]))
            handler.end_headers()
            handler.wfile.write(b"x")
            began.set()
            time.sleep(20)

        server.answers["/v2/app/blobs/" + manifest["layers"][0]["digest"]] = stall
        pulling = subprocess.Popen([KNARR, "pull", name], cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        check(began.wait(20), "it never asked for the disk")
        pulling.send_signal(signal.SIGINT)
        check(pulling.wait(10) == -signal.SIGINT, "Ctrl-C does not end it")
        check([p.name for p in work.iterdir()] == ["app.img"] and old.read_bytes() == b"old", f"left: {list(work.iterdir())}")
