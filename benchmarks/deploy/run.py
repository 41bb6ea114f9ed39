"""How fast is a deploy? Ours, a shell script, a playbook of one task a line, and pyinfra, on the same light nodes.

Usage: .venv/bin/python benchmarks/deploy/run.py [--nodes 2,16] [--rounds 3] [--only floor,ours]

All leave the same end state, and it is looked at after each run: files, tuning, container, what runs in it with which
arguments and environment, and that it answers. A second run must leave the running container alone.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "light"), str(HERE.parent.parent / "playbooks/collections")]

import light as light_nodes
import measure
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import (
    engine,
    layout,
)
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render

ROOT = measure.ROOT
PYINFRA = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ascend-vllm-benchmarks/pyinfra"
# Run with our settings after a deploy of ours: parts of it, and the least that Ansible can do.
ALONE = (ROOT / "playbooks/preflight.yml", ROOT / "playbooks/status.yml", HERE / "ping.yml")
TUNING = {"governor": ["performance"], "vm.swappiness": "0", "kernel.numa_balancing": "0", "migration": "50000"}

# What there is on a node, as JSON.
LOOK = """
import glob, json, subprocess
def text(path):
    return open(path).read().strip()
container = json.loads(subprocess.check_output(["docker", "container", "inspect", "NAME"]))[0]
container["Config"].pop("Labels")
pid = "/proc/%d/" % container["State"]["Pid"]
folder = "/etc/ascend-vllm/NAME/"
print(json.dumps({
    "id": [container["Id"], container["State"]["StartedAt"], container["State"]["Status"]],
    "container": [container["Image"], container["Config"], container["HostConfig"], container["Mounts"]],
    "argv": text(pid + "cmdline").strip("\\0").split("\\0")[3:],
    "env": dict(word.partition("=")[::2] for word in text(pid + "environ").split("\\0")),
    "file": text(folder + "service.env"),
    "launch": text(folder + "launch.sh"),
    "tuning": {
        "governor": sorted({text(path) for path in glob.glob("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")}),
        "vm.swappiness": text("/proc/sys/vm/swappiness"),
        "kernel.numa_balancing": text("/proc/sys/kernel/numa_balancing"),
        "migration": text("/sys/kernel/debug/sched/migration_cost_ns"),
    },
}))
"""
CLEAN = """
docker rm --force NAME >/dev/null 2>&1
rm -rf /etc/ascend-vllm /var/lib/ascend-vllm /run/ascend-vllm /usr/local/lib/ascend-vllm /root/.ansible
rm -f /etc/sysctl.d/90-ascend-vllm.conf /etc/systemd/system/ascend-vllm* /etc/systemd/system/*/ascend-vllm*
for file in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo schedutil > $file; done
echo 60 > /proc/sys/vm/swappiness
echo 1 > /proc/sys/kernel/numa_balancing
echo 500000 > /sys/kernel/debug/sched/migration_cost_ns
"""


class Bench:
    """The nodes, what is wanted of them, and the ways to get there."""

    def __init__(self, light):
        self.light = light
        self.sockets = light.folder / "sockets"
        self.sockets.mkdir()
        words, env = measure.ansible("playbooks/plan.yml", ROOT / "ansible.cfg", self.sockets, "-i", light.inventory)
        plan = light.folder / "plan.json"
        subprocess.run(
            words + ["-e", f"vllm_plan_file={plan}"], env=env, cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
        self.nodes = json.loads(plan.read_text())
        self.name = self.nodes[0]["container"]["name"]
        self.ways = {"floor": self.floor(), "naive": self.naive(), "pyinfra": self.pyinfra(), "ours": self.ours()}

    def given(self, node):
        """What the other deployers are told of a node: texts, so that all come to the same."""
        spec = node["container"]
        mounts = [mount for mount in spec["mounts"] if mount["source"] != "/usr/local/sbin/npu-smi"]
        url = "" if node["role"] == "secondary" else node["service"]["url"]
        question = {"model": node["service"]["model"], "messages": [{"role": "user", "content": "Hello, who are you?"}]}
        return {
            "name": spec["name"],
            "folder": layout.service_directory(spec),
            "environment": render.environment_file(node, "eth0"),
            "launch": "#!/bin/bash\nset -a\n. /etc/ascend-vllm/service.env\nset +a\nexec "
            + " \\\n  ".join(render.command_lines(node["argv"]))
            + "\n",
            "words": shlex.join(engine.create_argv(spec, mounts)[1:]),
            "url": url,
            "model": node["service"]["model"],
            "question": json.dumps(question),
        }

    # -- the ways -------------------------------------------------------------------------------------------------------

    def floor(self):
        """A shell script by hand."""
        lines = []
        for node in self.nodes:
            primary = next(
                one["address"] for one in self.nodes if one["replica"] == node["replica"] and one["role"] == "primary"
            )
            lines.append(f"{node['address']} {node['role']} {primary}\n")
        listed = self.light.folder / "nodes"
        listed.write_text("".join(lines))
        ssh = ["ssh", "-i", self.light.key, *light_nodes.SSH_OPTIONS.split()]
        return [HERE / "floor.sh", listed, *ssh], dict(os.environ)

    def naive(self):
        """The guide as a playbook, a line a task, with Ansible's own settings."""
        playbook = self.light.folder / "naive.yml"
        playbook.write_text(yaml.safe_dump(naive_playbook([self.given(node) for node in self.nodes]), sort_keys=False))
        inventory = self.light.folder / "naive_inventory.yml"
        hosts = {
            node["host"]: dict(ansible_host=node["address"], given=self.given(node), role=node["role"])
            for node in self.nodes
        }
        for host in hosts.values():
            host["env_lines"] = host["given"]["environment"].splitlines()
            host["launch_lines"] = host["given"]["launch"].splitlines()
        common = yaml.safe_load(self.light.inventory.read_text())["all"]["vars"]
        connect = {name: value for name, value in common.items() if name.startswith("ansible_")}
        inventory.write_text(yaml.safe_dump({"all": {"vars": connect, "hosts": hosts}}))
        config = self.light.folder / "defaults.cfg"
        config.write_text("")
        return measure.ansible(playbook, config, self.sockets, "-i", inventory)

    def pyinfra(self):
        """The same with pyinfra, in an environment of its own."""
        program = PYINFRA / "bin/pyinfra"
        if not program.exists():
            print("installing pyinfra", file=sys.stderr)
            venv.create(PYINFRA, with_pip=True)
            subprocess.run(
                [PYINFRA / "bin/pip", "install", "--quiet", "-r", HERE.parent / "requirements.txt"], check=True
            )
        inventory = self.light.folder / "pyinfra_inventory.py"
        hosts = [
            (
                node["address"],
                {
                    "ssh_user": "root",
                    "ssh_key": str(self.light.key),
                    "ssh_strict_host_key_checking": "off",
                    "ssh_known_hosts_file": "/dev/null",
                    "given": self.given(node),
                },
            )
            for node in self.nodes
        ]
        inventory.write_text(f"nodes = {hosts!r}\n")
        return [program, "-y", inventory, HERE / "with_pyinfra.py"], dict(os.environ)

    def ours(self, playbook=ROOT / "playbooks/deploy_a2.yml"):
        """A playbook with the settings of this project."""
        return measure.ansible(playbook, ROOT / "ansible.cfg", self.sockets, "-i", self.light.inventory)

    # -- runs -----------------------------------------------------------------------------------------------------------

    def run(self, way):
        """One run of one of the ways, or of a playbook, measured."""
        words, env = self.ours(way) if isinstance(way, Path) else self.ways[way]
        found = measure.run(words, env, self.light, self.sockets)
        found["tasks"] = {
            "floor": lambda text: 1,
            "pyinfra": lambda text: text.count("--> Starting operation"),
        }.get(way, measure.tasks)(found.pop("output"))
        return found

    def clean(self):
        """Have the nodes as they were made."""
        self.light.everywhere(CLEAN.replace("NAME", self.name))

    def look(self, way):
        """What there is on all nodes; ends this program where it is not what the plan says."""
        script = LOOK.replace("NAME", self.name)
        found = {
            name: json.loads(text)
            for name, text in self.light.everywhere("python3 -S - <<'END'\n" + script + "END").items()
        }
        errors = []
        for node in self.nodes:
            errors += [f"{node['host']}: {text}" for text in self.differences(node, found[node["host"]])]
            if node["role"] != "secondary" and not answers(node["service"]):
                errors.append(f"{node['host']}: {node['service']['url']} does not answer")
        if errors:
            sys.exit(f"{way} left what differs from the plan:\n" + "\n".join(errors))
        return {name: told["id"] for name, told in found.items()}

    def differences(self, node, found):
        """What a node has against what its plan says."""
        spec, given = node["container"], self.given(node)
        unused, config, host, mounts = found["container"]
        env = dict(line.partition("=")[::2] for line in shlex.split(given["environment"]))
        launch = shlex.split(found["launch"][found["launch"].index("exec ") + 5 :].replace("\\\n", " "))
        pairs = {
            "status": (found["id"][2], "running"),
            "tuning": (found["tuning"], TUNING),
            "service.env": (dict(line.partition("=")[::2] for line in shlex.split(found["file"])), env),
            "launch.sh": (launch, node["argv"]),
            "arguments of the process": (found["argv"], node["argv"][1:]),
            "environment of the process": ({name: found["env"].get(name) for name in env}, env),
            "image": (config["Image"], spec["image"]),
            "user, entrypoint, command": (
                [config["User"]] + config["Entrypoint"] + config["Cmd"],
                [spec["user"]] + spec["command"],
            ),
            "devices": ([item["PathOnHost"] for item in host["Devices"]], spec["devices"]),
            "mounts": (
                sorted([item["Source"], item["Destination"], item["RW"]] for item in mounts),
                sorted(
                    [item["source"], item["target"], not item["read_only"]]
                    for item in spec["mounts"]
                    if item["source"] != "/usr/local/sbin/npu-smi"
                ),
            ),
            "network, shared memory, restart, init, privileged": (
                [host["NetworkMode"], host["ShmSize"], host["RestartPolicy"]["Name"], host["Init"], host["Privileged"]],
                [spec["network"], spec["shm_size"], spec["restart"], spec["init"], spec["privileged"]],
            ),
            "log": (
                [host["LogConfig"]["Type"], host["LogConfig"]["Config"]],
                [spec["log"]["driver"], {key: spec["log"][key] for key in ("max-size", "max-file")}],
            ),
        }
        return [
            f"{what} is {json.dumps(seen)}; wanted {json.dumps(wanted)}"
            for what, (seen, wanted) in pairs.items()
            if seen != wanted
        ]


def answers(service):
    """Does the service give tokens?"""
    body = {"model": service["model"], "messages": [{"role": "user", "content": "Hello"}]}
    request = urllib.request.Request(
        service["url"] + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["usage"]["completion_tokens"] > 0


def naive_playbook(given):
    """One task for each line of the guide, as one writes it down while reading it."""

    def lines(name, path, mode):
        longest = max(
            len(item[{"env_lines": "environment", "launch_lines": "launch"}[name]].splitlines()) for item in given
        )
        return [
            {
                "name": f"Line {number + 1} of {path}",
                "ansible.builtin.lineinfile": {
                    "path": "{{ given.folder }}/" + path,
                    "line": f"{{{{ {name}[{number}] }}}}",
                    "create": True,
                    "mode": mode,
                },
                "when": f"{name} | length > {number}",
            }
            for number in range(longest)
        ]

    def command(name, text, **more):
        return dict({"name": name, "ansible.builtin.command": text}, **more)

    primary = "role != 'secondary'"
    return [
        {
            "name": "The guide, line by line",
            "hosts": "all",
            "tasks": [
                {
                    "name": "Governor",
                    "ansible.builtin.shell": "echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
                },
                command("Swappiness", "sysctl -w vm.swappiness=0"),
                command("NUMA balancing", "sysctl -w kernel.numa_balancing=0"),
                {
                    "name": "Migration cost",
                    "ansible.builtin.shell": "echo 50000 > /sys/kernel/debug/sched/migration_cost_ns",
                },
                {"name": "Folder", "ansible.builtin.file": {"path": "{{ given.folder }}", "state": "directory"}},
                *lines("env_lines", "service.env", "0600"),
                *lines("launch_lines", "launch.sh", "0755"),
                command(
                    "Is there a container?", "docker inspect {{ given.name }}", register="there", failed_when=False
                ),
                command("Run the container", "docker run --detach {{ given.words }}", when="there.rc != 0"),
                command("Start the container", "docker start {{ given.name }}", when="there.rc == 0"),
                {
                    "name": "Wait",
                    "ansible.builtin.uri": {"url": "{{ given.url }}/v1/models"},
                    "register": "models",
                    "until": "models is success",
                    "retries": 60,
                    "delay": 1,
                    "when": primary,
                },
                {
                    "name": "Ask",
                    "ansible.builtin.uri": {
                        "url": "{{ given.url }}/v1/chat/completions",
                        "method": "POST",
                        "body_format": "json",
                        "body": "{{ given.question }}",
                    },
                    "when": primary,
                },
            ],
        }
    ]


def table(rows):
    """The medians of all rounds as Markdown, and how they compare with the floor's and the naive playbook's."""
    middle = {
        key: {name: statistics.median(one[name] for one in found) for name in found[0]} for key, found in rows.items()
    }
    lines = [
        "| run | of | median s | spread s | × floor | naive is slower | controller CPU s | MB | tasks | sessions per node |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (run, way), found in rows.items():
        mine = middle[run, way]
        seconds = [one["seconds"] for one in found]
        mb = f"{mine['tree_mb']:.0f}" if mine["tree_mb"] else "–"  # over before it was looked at
        floor, naive = (middle.get((run, other), {}).get("seconds") for other in ("floor", "naive"))
        lines.append(
            f"| {run} | {way} | {mine['seconds']:.1f} | {min(seconds):.1f} to {max(seconds):.1f} | "
            + (f"{mine['seconds'] / floor:.1f} ×" if floor else "")
            + " | "
            + (f"{naive / mine['seconds']:.1f} ×" if naive else "")
            + f" | {mine['cpu']:.1f} | {mb} | {mine['tasks']:.0f} | {mine['sessions']:.1f} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", default="2,16", help="how many nodes, in pairs of A2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="floor,naive,pyinfra,ours", help="which of the four")
    options = parser.parse_args()
    measure.adopt_orphans()
    for count in [int(word) for word in options.nodes.split(",")]:
        rows, loads = {}, []
        with light_nodes.running(count) as light:
            bench = Bench(light)
            for number in range(options.rounds):
                for way in options.only.split(","):
                    print(f"{count} nodes, round {number + 1}: {way}", file=sys.stderr, flush=True)
                    bench.clean()
                    rows.setdefault(("first", way), []).append(bench.run(way))
                    before = bench.look(way)
                    rows.setdefault(("second", way), []).append(bench.run(way))
                    if bench.look(way) != before:
                        sys.exit(f"the second run of {way} did not leave the containers alone")
                    if way == "ours":
                        for playbook in ALONE:
                            rows.setdefault((playbook.name, way), []).append(bench.run(playbook))
            loads = [one["load"] for found in rows.values() for one in found]
        order = {"first": 0, "second": 1}
        rows = dict(sorted(rows.items(), key=lambda item: order.get(item[0][0], 2)))
        print(f"\n{count} nodes, {options.rounds} rounds, load before a run {min(loads):.1f} to {max(loads):.1f}\n")
        print(table(rows), flush=True)


if __name__ == "__main__":
    main()
