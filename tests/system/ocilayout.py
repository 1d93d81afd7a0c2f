"""Container images written by hand: layers, OCI layouts and archives of docker save, also such as no sane program would write."""
import gzip
import hashlib
import io
import json
import pathlib
import subprocess
import tarfile

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def member(name, data=None, kind=None, link="", mode=0o755, **more):
    """(TarInfo, bytes): a file when there is data, else a directory."""
    info = tarfile.TarInfo(name)
    info.type = kind or (tarfile.DIRTYPE if data is None else tarfile.REGTYPE)
    info.size, info.mode, info.linkname, info.mtime = len(data or b""), mode, link, 1600000000
    for key, value in more.items():
        setattr(info, key, value)
    return info, data or b""


def soft(name, link):
    return member(name, b"", tarfile.SYMTYPE, link)


def layer(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def packed(tar, how):
    """(bytes, suffix of the media type)"""
    if how == "gzip":
        return gzip.compress(tar, 1, mtime=0), "+gzip"
    if how == "zstd":
        return subprocess.run(["zstd", "-q", "-1", "-c"], input=tar, capture_output=True, check=True).stdout, "+zstd"
    return tar, ""


class Layout:
    """An OCI layout in a directory. What is in `wrong` goes amiss on purpose."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        (self.root / "blobs/sha256").mkdir(parents=True)
        (self.root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.manifests = []

    def blob(self, data, kind, **more):
        (self.root / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}

    def image(self, layers, config, how="gzip", architecture="amd64"):
        """The descriptor of a manifest."""
        described = []
        for tar in layers:
            data, suffix = packed(tar, how)
            described.append(self.blob(data, LAYER + suffix))
        whole = {"architecture": architecture, "os": "linux", "config": config,
                 "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in layers]}}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": described,
                    "config": self.blob(json.dumps(whole).encode(), CONFIG)}
        return self.blob(json.dumps(manifest).encode(), MANIFEST)

    def add(self, descriptor, tag=None, **more):
        annotations = {"annotations": {"org.opencontainers.image.ref.name": tag}} if tag else {}
        self.manifests.append({**descriptor, **annotations, **more})
        (self.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests}))
        return self

    def index(self, *descriptors):
        return self.blob(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}).encode(), INDEX)

    def archive(self, path):
        with tarfile.open(path, "w") as tar:
            for each in ["oci-layout", "index.json", "blobs"]:
                tar.add(self.root / each, each)
        return path


def docker_archive(path, layers, config, tags=("example.org/app:v1",), compressed=False):
    whole = json.dumps({"architecture": "amd64", "os": "linux", "config": config,
                        "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in layers]}}).encode()
    name = digest(whole)[7:] + ".json"
    names = [f"{i}/layer.tar" for i in range(len(layers))]
    manifest = json.dumps([{"Config": name, "RepoTags": list(tags), "Layers": names}]).encode()
    files = [member(names[i], tar) for i, tar in enumerate(layers)]
    data = layer(*files, member("manifest.json", manifest), member(name, whole))
    pathlib.Path(path).write_bytes(gzip.compress(data, 1) if compressed else data)
    return path
