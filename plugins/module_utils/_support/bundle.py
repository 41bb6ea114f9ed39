# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node can show to whoever looks for a fault: read once, bounded in time and size, without its secrets.

Everything stays in memory, so that it works on a node whose disks are full. Each part is a file of the bundle; what
is not there has its reason in the index.
"""

from __future__ import annotations

import glob
import io
import json
import os
import re
import stat
import sys
import tarfile
import time

from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.engine import Engine, EngineError
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.parallel import in_parallel
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import (
    Redactor,
    names_only,
    parse_environment,
    secret_values,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.run import (
    driver_env,
    find_tool,
    last_lines,
    run,
    run_tail,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._facts.engine import first_json
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.causes import diagnose
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.chips import NO_TOOL
from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu.smi import parse_info

OUTPUT = 512 * 1024  # of one command
LOG = 4 * 1024 * 1024  # of one log
CANN_FILES, CANN_BYTES = 24, 128 * 1024  # newest files of CANN's logs, and the end of each
SECONDS = 150  # for all of it
CONFIG, STATE, RUNTIME = "/etc/ascend-vllm", "/var/lib/ascend-vllm", "/run/ascend-vllm"
SUPERVISOR = "ascend-vllm@{0}.service"
NPU_QUESTIONS = ("health", "board", "common", "usages", "product")
HCCN_QUESTIONS = ("link", "net_health", "ip", "tls", "lldp", "optical", "link_stat", "stat")
# Kernel settings that matter for the service or its network.
SYSCTLS = (
    "vm/swappiness vm/overcommit_memory vm/max_map_count vm/nr_hugepages vm/zone_reclaim_mode vm/min_free_kbytes "
    "kernel/numa_balancing kernel/sched_migration_cost_ns kernel/pid_max kernel/threads-max kernel/shmmax kernel/shmall "
    "kernel/core_pattern kernel/panic fs/file-max fs/file-nr net/core/somaxconn net/core/rmem_max net/core/wmem_max "
    "net/ipv4/ip_local_port_range net/ipv4/ip_local_reserved_ports net/ipv4/ip_forward net/ipv4/tcp_rmem "
    "net/ipv4/tcp_wmem net/ipv4/conf/all/rp_filter"
).split()
FILES = (
    ("system/os-release.txt", "/etc/os-release", "the distribution"),
    ("npu/driver-version.txt", "/usr/local/Ascend/driver/version.info", "version of the driver"),
    ("npu/firmware-version.txt", "/usr/local/Ascend/firmware/version.info", "version of the firmware"),
    ("npu/install.txt", "/etc/ascend_install.info", "how the driver was installed"),
    ("fabric/hccn.conf", "/etc/hccn.conf", "addresses of the chips"),
    ("engine/daemon.json", "/etc/docker/daemon.json", "settings of the engine"),
    ("system/meminfo.txt", "/proc/meminfo", "memory, huge pages"),
    ("system/mounts.txt", "/proc/mounts", "what is mounted"),
    ("host-tuning/record.json", STATE + "/host_tuning.json", "what host tuning found first"),
    ("host-tuning/sysctl.conf", "/etc/sysctl.d/90-ascend-vllm.conf", "what host tuning sets at a boot"),
)


class Missing(Exception):
    """Why a part of the bundle is not there."""


class Part:
    """One file of the bundle: a function that gives its text, and notes on it.

    ``fill`` is called with the part; it returns text, or raises Missing.
    """

    def __init__(self, path, what, fill):
        self.path, self.what, self.fill = path, what, fill
        self.problems = []
        self.cut = 0
        self.text = None
        self.missing = "no answer in time"
        self.hung = ""

    def run(self):
        """Fill it; whatever happens is told and is no failure."""
        try:
            self.text = self.fill(self)
            self.missing = ""
        except Missing as error:
            self.missing = str(error)
        except Exception as error:  # one part's trouble must not cost the others
            self.missing = f"{type(error).__name__}: {error}"


# -- sources --------------------------------------------------------------------------------------------------------


def commands(argvs, timeout=20.0, limit=OUTPUT, env=None, explicit=None):
    """A part that is the output of commands, one after the other; after one that hangs no other is run."""

    def fill(part):
        texts = []
        absent = []
        for argv in argvs:
            shown = " ".join([os.path.basename(argv[0])] + list(argv[1:]))
            tool = argv[0] if "/" in argv[0] else find_tool(argv[0], explicit)
            if not tool or not os.path.isfile(tool):
                absent.append(NO_TOOL if argv[0] == "hccn_tool" else f"there is no command {explicit or argv[0]}")
                continue
            if part.hung:
                part.problems.append(f"{shown}: not run after that")
                continue
            started = time.monotonic()
            rc, text, late, cut = run_tail([tool] + list(argv[1:]), timeout, limit, env)
            part.cut += cut
            end = f"exit status {rc}"
            if late:
                end = part.hung = f"no answer in {timeout:g} s"
            if late or rc != 0:
                part.problems.append(f"{shown}: {end}")
            end += f", after {time.monotonic() - started:.2f} s"
            texts.append(
                "$ {0}\n{1}{2}[{3}]\n".format(shown, text, "" if text.endswith("\n") or not text else "\n", end)
            )
        if not texts:
            raise Missing("; ".join(sorted(set(absent))) or "nothing to ask")
        part.problems.extend(sorted(set(absent)))
        return "\n".join(texts)

    return fill


def contents(path, limit=OUTPUT):
    """A part that is the end of a file."""

    def fill(part):
        try:
            with open(path, "rb") as stream:
                if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                    raise Missing(f"{path} is no regular file")
                size = os.fstat(stream.fileno()).st_size
                stream.seek(max(0, size - limit))
                data = last_lines(stream.read(limit), limit, size > limit)
        except OSError as error:
            raise Missing(f"{path}: {error.strerror or error}")
        part.cut = max(0, size - len(data)) if size > limit else 0
        return data.decode("utf-8", "replace")

    return fill


def sysctls(root="/"):
    def fill(unused):
        lines = []
        for name in SYSCTLS:
            try:
                with open(os.path.join(root, "proc/sys", name)) as stream:
                    lines.append("{0} = {1}".format(name.replace("/", "."), " ".join(stream.read(4096).split())))
            except OSError as error:
                lines.append("{0}: {1}".format(name.replace("/", "."), error.strerror or error))
        return "\n".join(lines) + "\n"

    return fill


def governors(root="/"):
    def fill(unused):
        counts = {}
        for path in glob.glob(os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")):
            try:
                with open(path) as stream:
                    value = stream.read(100).strip()
            except OSError as error:
                value = error.strerror or str(error)
            counts[value] = counts.get(value, 0) + 1
        if not counts:
            raise Missing("the CPUs of this node have no cpufreq")
        return "".join(f"{value}: {counts[value]} CPUs\n" for value in sorted(counts))

    return fill


def chip_users(root="/"):
    """Who has a device of the NPUs open."""

    def fill(unused):
        lines = []
        for pid in sorted((name for name in os.listdir(os.path.join(root, "proc")) if name.isdigit()), key=int):
            folder = os.path.join(root, "proc", pid)
            try:
                links = [
                    os.readlink(os.path.join(folder, "fd", name)) for name in os.listdir(os.path.join(folder, "fd"))
                ]
                held = sorted({link for link in links if link.startswith("/dev/davinci")})
                if held:
                    with open(os.path.join(folder, "cmdline"), "rb") as stream:
                        command = stream.read(4000).replace(b"\0", b" ").decode("utf-8", "replace")
                    lines.append("{0}  {1}  {2}\n".format(pid, " ".join(held), command.strip()))
            except OSError:
                continue
        return "".join(lines) or "no process has a /dev/davinci* open\n"

    return fill


def cann_logs(docker, name, timeout, root="/"):
    """The ends of the newest logs that CANN wrote inside the container, which may have ended.

    Read where the engine keeps the container's files: such logs may be gigabytes, too much for a copy.
    """

    def fill(part):
        rc, text, late = run([docker, "container", "inspect", name], timeout)
        found = first_json(text, "[") if rc == 0 else None
        if not found:
            raise Missing("the engine gives no answer" if late else f"there is no container {name}")
        variables = dict(word.split("=", 1) for word in environment_of(text) if "=" in word)
        place = (variables.get("ASCEND_PROCESS_LOG_PATH") or "/root/ascend/log").strip("/")
        pid = (found[0].get("State") or {}).get("Pid")
        upper = ((found[0].get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
        base = os.path.join(root, "proc", str(pid), "root") if pid else upper
        if not base:
            raise Missing("the container has ended, and the engine does not tell where its files are")
        folder = base
        for step in place.split("/"):
            folder = os.path.join(folder, step)
            if os.path.islink(folder) or not os.path.isdir(folder):  # a link would lead out of the container
                raise Missing(f"CANN wrote no /{place} in the container")
        newest = sorted(
            (
                (os.lstat(path).st_mtime, path)
                for place, unused, files in os.walk(folder)
                for path in (os.path.join(place, file) for file in files)
                if stat.S_ISREG(os.lstat(path).st_mode)
            ),
            reverse=True,
        )
        texts = []
        for _seen, path in newest[:CANN_FILES]:
            tail = Part(path, "", contents(path, CANN_BYTES))
            tail.run()
            part.cut += tail.cut
            texts.append(f"== {path[len(base) :]}\n{tail.text or tail.missing}\n")
        if len(newest) > CANN_FILES:
            part.problems.append(f"the {CANN_FILES} newest of {len(newest)} files")
        if not texts:
            raise Missing(f"/{place} is empty")
        return "\n".join(texts)

    return fill


# -- the parts ------------------------------------------------------------------------------------------------------


def seconds_of(since):
    """``10m``, ``2h``, ``1h30m`` as seconds; 0 for an empty text; ValueError for what is none."""
    parts = re.findall(r"(\d+)([smhd])", since)
    if "".join(number + unit for number, unit in parts) != since:
        raise ValueError(f"'{since}' is no time to look back: wanted a number and s, m, h or d, such as 10m")
    return sum(int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] for number, unit in parts)


def log_commands(name, engine, lines, since):
    """The commands for the container's log and for the supervisor's journal."""
    log = [engine, "logs", "--timestamps", "--tail", str(lines)]
    journal = ["journalctl", "--no-pager", "-o", "short-iso", "-n", str(lines)]
    if since:
        begin = int(time.time()) - seconds_of(since)
        log += ["--since", str(begin)]
        journal += ["--since", f"@{begin}"]
    return log + [name], journal


def groups(name, engine, chips, lines, since, npu_smi, hccn_tool, timeout, root="/"):
    """The parts by group. The groups are read at the same time, the parts of a group one after the other."""

    def at(path):
        return os.path.join(root, path.lstrip("/"))

    log, journal = log_commands(name, engine, lines, since)
    docker = find_tool(engine) or engine
    env = driver_env()

    def asked(path, what, *argvs, **options):
        return Part(path, what, commands(argvs, **dict({"timeout": timeout}, **options)))

    def engine_part(path, what, *arguments, **options):
        return asked(path, what, [docker] + list(arguments), **options)

    def journal_part(path, what, *arguments):
        return asked(path, what, journal + list(arguments), limit=LOG)

    result = {
        "npu": [
            asked("npu/info.txt", "npu-smi's table", ["npu-smi", "info"], env=env, explicit=npu_smi),
            asked(
                "npu/lists.txt",
                "npu-smi: list, mapping, topology",
                *[["npu-smi", "info"] + words for words in (["-l"], ["-m"], ["-t", "topo"])],
                env=env,
                explicit=npu_smi,
            ),
        ],
        "engine": [
            engine_part("container/inspect.json", "the container as the engine has it", "container", "inspect", name),
            asked("container/log.txt", "the container's log, its last lines", [docker] + log[1:], limit=LOG),
            Part("container/cann-logs.txt", "CANN's logs, the newest", cann_logs(docker, name, timeout, root)),
            engine_part("engine/version.txt", "versions of client and engine", "version"),
            engine_part("engine/info.txt", "the engine's set-up", "info"),
            engine_part("engine/containers.txt", "all containers", "ps", "--all", "--no-trunc"),
            engine_part("engine/images.txt", "images", "images", "--digests", "--no-trunc"),
            engine_part(
                "engine/events.txt",
                "what happened to the container in the last day",
                "events",
                "--since",
                "24h",
                "--until",
                str(int(time.time())),
                "--filter",
                "container=" + name,
            ),
            engine_part("engine/disk.txt", "disk that the engine uses", "system", "df", timeout=3 * timeout),
        ],
        "journal": [
            journal_part("supervisor/journal.txt", "the supervisor's journal", "-u", SUPERVISOR.format(name)),
            asked(
                "supervisor/units.txt",
                "the supervisor's units",
                ["systemctl", "--no-pager", "--full", "status", SUPERVISOR.format(name), "ascend-vllm@%s.timer" % name],
                ["systemctl", "--no-pager", "cat", SUPERVISOR.format(name)],
                ["systemctl", "--no-pager", "list-timers", "--all"],
            ),
            journal_part(
                "engine/journal.txt", "the engine's journal", "-u", "docker.service", "-u", "containerd.service"
            ),
            journal_part("kernel/journal.txt", "the kernel's journal", "-k"),
            asked("kernel/dmesg.txt", "the kernel's messages", ["dmesg", "-T"], limit=2 * OUTPUT),
            asked("system/failed-units.txt", "units that failed", ["systemctl", "--no-pager", "--failed"]),
        ],
        "network": [
            asked(
                "network/ip.txt",
                "addresses, routes, counters",
                *[["ip"] + w for w in (["-d", "addr"], ["route"], ["-s", "link"])],
            ),
            asked("network/listening.txt", "who listens", ["ss", "-tnlp"]),
            asked("network/connections.txt", "connections", ["ss", "-tnp"]),
        ],
        "system": [
            asked("system/uname.txt", "kernel, uptime, clock", ["uname", "-a"], ["uptime"], ["timedatectl"]),
            asked("system/cpu.txt", "CPUs", ["lscpu"]),
            asked("system/memory.txt", "memory", ["free", "-m"]),
            asked(
                "system/processes.txt",
                "all processes",
                ["ps", "-eo", "pid,ppid,user,stat,lstart,rss,nlwp,args"],
                limit=LOG,
            ),
            Part("npu/users.txt", "processes that hold an NPU device", chip_users(root)),
            Part("host-tuning/governors.txt", "the CPUs' governors", governors(root)),
            Part("host-tuning/sysctls.txt", "kernel settings now", sysctls(root)),
        ],
        # Alone, since a network file system that is gone makes it hang.
        "disks": [asked("system/disks.txt", "disks", ["df", "-hT"], ["df", "-i"])],
        "files": [Part(path, what, contents(at(source))) for path, source, what in FILES],
        "service": service_parts(name, at),
    }
    for chip in chips:
        result[f"chip {chip}"] = [
            asked(
                f"fabric/chip-{chip}.txt",
                f"what hccn_tool tells of chip {chip}",
                *[["hccn_tool", "-i", str(chip), "-" + question, "-g"] for question in HCCN_QUESTIONS],
                env=env,
                explicit=hccn_tool,
            )
        ]
    if not chips:
        result["chip"] = [Part("fabric/chips.txt", "what hccn_tool tells", refuse("there is no /dev/davinciN"))]
    return result


def refuse(reason):
    def fill(unused):
        raise Missing(reason)

    return fill


def service_parts(name, at):
    """The service's own files on the node."""
    folders = [at(f"{place}/{name}") for place in (CONFIG, STATE, RUNTIME)]
    parts = [
        Part("service/files.txt", "the service's files", commands([["ls", "-laR"] + folders])),
        Part(
            "supervisor/state.json",
            "what the supervisor saw last",
            contents(at(f"{RUNTIME}/{name}/state.json")),
        ),
        Part("service/deployed.json", "what is deployed", contents(at(f"{STATE}/{name}/deployed.json"))),
    ]
    try:
        names = sorted(os.listdir(folders[0]))
    except OSError as error:
        reason = f"{folders[0]}: {error.strerror or error}"
        return parts + [Part("service/config", "launch script and environment", refuse(reason))]
    for file in names:
        path = os.path.join(folders[0], file)
        fill = contents(path)
        if "secret" in file.lower():
            fill = only_names(fill)
        parts.append(Part("service/config/" + file, f"of {CONFIG}/{name}", fill))
    return parts


def only_names(read):
    def fill(part):
        part.problems.append("names only")
        return names_only(read(part))

    return fill


def npu_parts(info, npu_smi, timeout):
    """What is asked of each NPU that the table lists."""
    npus = sorted({device["npu_id"] for device in parse_info(info or "")["devices"] if device["npu_id"] is not None})
    return [
        Part(
            f"npu/npu-{npu}.txt",
            f"what npu-smi tells of NPU {npu}",
            commands(
                [["npu-smi", "info", "-t", question, "-i", str(npu)] for question in NPU_QUESTIONS],
                timeout,
                env=driver_env(),
                explicit=npu_smi,
            ),
        )
        for npu in npus
    ]


# -- all of it ------------------------------------------------------------------------------------------------------


def read_group(parts):
    """Fill the parts one after the other; what is left after one that hangs is not asked, for the same would answer."""
    for index, part in enumerate(parts):
        part.run()
        if part.hung and part.path.split("/")[0] in ("npu", "engine", "container", "fabric"):
            for other in parts[index + 1 :]:
                other.missing = "not asked: {0}".format("; ".join(part.problems[:1]))
            return


def known_secrets(name, root="/", environment=()):
    """The secret values that the node's files and the container's environment hold, and notes on what is not readable."""
    values = []
    notes = []
    folder = os.path.join(root, CONFIG.lstrip("/"), name)
    # Of revisions, also where 0.1.0 put them.
    older = os.path.join(root, STATE.lstrip("/"), name, "[rg]e*s", "*", "secrets.env")
    for path in [os.path.join(folder, "secrets.env")] + sorted(glob.glob(older)):
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                values.extend(value for unused, value in parse_environment(stream.read(1 << 20)))
        except FileNotFoundError:
            continue
        except OSError as error:
            notes.append(f"{path}: {error.strerror or error}; only what looks like a secret was taken out")
    try:
        with open(os.path.join(folder, "service.env"), encoding="utf-8", errors="replace") as stream:
            values.extend(secret_values(parse_environment(stream.read(1 << 20))))
    except OSError:
        pass  # the file itself is a part of the bundle, and says so there
    values.extend(secret_values(word.split("=", 1) for word in environment if "=" in str(word)))
    return values, notes


def environment_of(inspected):
    """The environment in the output of ``container inspect``."""
    found = first_json(inspected or "", "[")
    try:
        return [str(word) for word in found[0]["Config"]["Env"] or []]
    except (TypeError, KeyError, IndexError):
        return []


def collect(
    name,
    engine="docker",
    chips=(),
    lines=2000,
    since="",
    data=None,
    secrets=(),
    npu_smi=None,
    hccn_tool=None,
    timeout=20.0,
    limit=20 * 1024 * 1024,
    root="/",
):
    """``(tar.gz as bytes, index)`` of a node.

    :param name: the container.
    :param chips: physical ids of the chips to ask.
    :param data: file name to data that is put into the bundle as JSON, without its secrets.
    :param secrets: values that are to be taken out, beside those that the node has.
    :param timeout: seconds that one command may take.
    :param limit: the most bytes that the bundle may have.
    """
    started = time.monotonic()
    parts = groups(name, engine, chips, lines, since, npu_smi, hccn_tool, timeout, root)
    # What is asked of each NPU is known after the table only.
    table = parts["npu"][0]
    details = []

    def read(group):
        read_group(parts[group])
        if group == "npu" and table.text and not table.hung:
            details.extend(npu_parts(table.text, npu_smi, timeout))
            in_parallel(lambda part: part.run(), details, SECONDS)

    in_parallel(read, list(parts), max(SECONDS, 3 * timeout))
    everything = sorted([part for group in parts.values() for part in group] + details, key=lambda part: part.path)
    by_path = {part.path: part for part in everything}

    inspected = by_path["container/inspect.json"].text
    values, notes = known_secrets(name, root, environment_of(inspected))
    redactor = Redactor(list(values) + list(secrets))
    if redactor.too_short:
        notes.append(
            f"{redactor.too_short} secret values are shorter than 6 signs; they were taken out beside their names only"
        )
    files = {}
    entries = []
    for part in everything:
        entry = {"path": part.path, "what": part.what}
        if part.text is None or part.missing:
            entry["missing"] = part.missing
        else:
            files[part.path] = redacted(part, redactor)
            entry.update(problems=part.problems, cut=part.cut)
        entries.append(entry)
    for path, content in sorted((data or {}).items()):
        files[path] = json.dumps(redactor.data(content), indent=2, sort_keys=True) + "\n"
        entries.append({"path": path, "what": "given by the controller", "problems": [], "cut": 0})
    index = {
        "container": state_of(inspected),
        "python": "{0}.{1}.{2}".format(*sys.version_info[:3]),
        "root": os.geteuid() == 0,
        "collected_at": int(time.time()),
        "causes": diagnose(files.get("container/log.txt", "")),
        "notes": notes,
        "entries": entries,
    }
    index = redactor.data(index)
    files = {redactor.text(path): text for path, text in files.items()}
    archive = pack(files, index, limit)
    index.update(redactions=redactor.count, seconds=round(time.monotonic() - started, 1))
    return archive, index


def redacted(part, redactor):
    """A part's text without secrets. What the engine tells of the container is data, whose names tell its secrets."""
    if part.path == "container/inspect.json":
        found = first_json(part.text, "[")
        if found:
            return json.dumps(redactor.data(found), indent=2) + "\n"
    return redactor.text(part.text)


def state_of(inspected):
    """``{status, exit_code, oom_killed, restart_count, started_at, finished_at, image}``, or None for no container."""
    found = first_json(inspected or "", "[")
    try:
        state = found[0]["State"]
        return {
            "status": state.get("Status"),
            "exit_code": state.get("ExitCode"),
            "oom_killed": bool(state.get("OOMKilled")),
            "restart_count": found[0].get("RestartCount", 0),
            "started_at": state.get("StartedAt"),
            "finished_at": state.get("FinishedAt"),
            "image": (found[0].get("Config") or {}).get("Image"),
        }
    except (TypeError, KeyError, IndexError, AttributeError):
        return None


def pack(files, index, limit):
    """A tar.gz of the files in memory; where it is too large, the largest are cut from the front, and the index says it."""
    files = {path: text.encode("utf-8", "replace") for path, text in files.items()}
    entries = {entry["path"]: entry for entry in index["entries"]}
    while True:
        archive = _tar(files)
        largest = max(files, key=lambda path: len(files[path]), default=None)
        if len(archive) <= limit or largest is None or len(files[largest]) < 2:
            break
        kept = last_lines(files[largest], len(files[largest]) // 2)
        entries[largest]["cut"] = entries[largest].get("cut", 0) + len(files[largest]) - len(kept)
        files[largest] = kept
    for path, data in files.items():
        entries[path]["bytes"] = len(data)
    return archive


def _tar(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as archive:
        for path in sorted(files):
            member = tarfile.TarInfo(path)
            member.size, member.mode, member.mtime = len(files[path]), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(files[path]))
    return stream.getvalue()


def read_logs(name, engine="docker", lines=200, since="", secrets=(), timeout=20.0, root="/"):
    """``{container, log, journal, missing, causes, notes}``: the ends of a container's log and of its supervisor's journal."""
    asked, journal = log_commands(name, engine, lines, since)
    result = {"container": None, "log": "", "journal": "", "missing": {}, "causes": [], "notes": []}
    inspected = ""
    try:
        # As it came: the secrets of the container's environment are needed, and only they.
        inspected = Engine(engine, timeout).call(["container", "inspect", name], check=False)[1]
        result["container"] = Engine(engine, timeout).container(name)
        if result["container"] is None:
            result["missing"]["log"] = f"there is no container {name}"
    except EngineError as error:
        result["missing"]["log"] = str(error)
    if result["container"]:
        result["container"] = {key: result["container"][key] for key in ("status", "exit_code", "age", "restart_count")}
    values, result["notes"] = known_secrets(name, root, environment_of(inspected))
    redactor = Redactor(list(values) + list(secrets))
    for key, argv in (("log", asked), ("journal", journal + ["-q", "-u", SUPERVISOR.format(name)])):
        if key in result["missing"]:
            continue
        tool = find_tool(argv[0]) or (argv[0] if "/" in argv[0] else None)
        if not tool:
            result["missing"][key] = f"there is no command {argv[0]}"
            continue
        rc, text, late, cut = run_tail([tool] + argv[1:], timeout, LOG)
        text = redactor.text(text)
        if late:
            result["missing"][key] = f"no answer in {timeout:g} s"
        elif rc != 0 and not text.strip():
            result["missing"][key] = f"'{argv[0]}' ended with exit status {rc}"
        elif not text.strip():
            result["missing"][key] = "no entries" + (" in the last " + since if since else "")
        if cut:
            result["notes"].append(f"{cut} bytes of the {key} were left out at its start")
        result[key] = text
    result["causes"] = diagnose(result["log"])
    return redactor.data(result)
