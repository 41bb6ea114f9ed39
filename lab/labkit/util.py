"""Paths, progress lines and process calls that all parts of the lab share."""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

LAB = Path(__file__).resolve().parent.parent
STATE = Path(os.environ.get("ASCEND_VLLM_LAB_DIR", "/var/lib/ascend-vllm-lab"))
RUN = Path("/run/ascend-vllm-lab")


class LabError(Exception):
    """Something the user can act on; printed without a traceback."""


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(text):
    """Print what is being done, a sign of life every ten seconds, and how long it took."""
    began = time.monotonic()
    done = threading.Event()

    def beat():
        while not done.wait(10):
            say(f"    ... {text} ({time.monotonic() - began:.0f} s)")

    say(f"  - {text}")
    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        done.set()
    say(f"    {text}: {time.monotonic() - began:.1f} s")


@contextlib.contextmanager
def locked():
    """Let only one lab command change things at a time."""
    STATE.mkdir(parents=True, exist_ok=True)
    with open(STATE / "lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step("waiting for another lab command"):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(argv, check=True, stdin=None, env=None, **options):
    """Run a command and return the finished process, its output as text; a failure says what was printed."""
    argv = [str(word) for word in argv]
    environment = dict(os.environ, **env) if env else None
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            env=environment,
            capture_output=True,
            text=not isinstance(stdin, bytes),
            **options,
        )
    except FileNotFoundError:
        raise LabError(f"there is no {argv[0]} on this machine; `lab build` installs what is missing") from None
    if check and done.returncode:
        raise LabError(
            "{} failed with status {}:\n{}".format(" ".join(argv[:6]), done.returncode, tail(done.stdout, done.stderr))
        )
    return done


def tail(*outputs, lines=25):
    texts = [text.decode(errors="replace") if isinstance(text, bytes) else text or "" for text in outputs]
    return "\n".join("\n".join(texts).strip().splitlines()[-lines:])


def pipe(producer, consumer):
    """Run `producer | consumer`; both must succeed. Returns what the consumer printed."""
    with subprocess.Popen([str(word) for word in producer], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        errors = []
        reader = threading.Thread(target=lambda: errors.append(first.stderr.read()))
        reader.start()
        second = subprocess.run([str(word) for word in consumer], stdin=first.stdout, capture_output=True)
        first.stdout.close()
        reader.join()
        first.wait()
    for name, status, output in (
        (producer[0], first.returncode, b"".join(errors)),
        (consumer[0], second.returncode, second.stderr),
    ):
        if status:
            raise LabError(f"{name} failed with status {status}:\n{tail(output)}")
    return second.stdout.decode().strip()


def content_hash(*parts):
    """Digest of texts and files (a folder counts with all its files), so that only a change rebuilds."""
    digest = hashlib.sha256()
    for part in parts:
        if not isinstance(part, Path):
            digest.update(str(part).encode() + b"\0")
            continue
        for path in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
