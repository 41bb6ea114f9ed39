"""The facts of a healthy node - engine, checkpoints, machine - for tests of the checks."""

import copy
import re

from ansible_collections.ascend_ops.vllm.plugins.module_utils._checks.check import Check

GB = 10**9


def engine_facts(node):
    return {
        "kind": "docker",
        "version": "24.0.7",
        "error": "",
        "late": False,
        "image": {
            "id": "sha256:0f1e2d3c4b5a69788796",
            "digests": ["quay.io/ascend/vllm-ascend@sha256:77aa"],
            "size": 17 * GB,
            "architecture": "arm64",
            "os": "linux",
            "soc": {"a2": "ascend910b1", "a3": "ascend910_9391"}[node["hardware"]],
            "env": {},
            "cann": {
                "read": True,
                "version": "9.0.0",
                "kernels": {{"a2": "ascend910b", "a3": "ascend910_93"}[node["hardware"]]: 5},
            },
        },
        "container": None,
        "foreign": False,
        "others": [],
        "archive_bytes": None,
        "free_bytes": 500 * GB,
        "cgroup_driver": "systemd",
        "cgroup_version": "2",
        "storage_driver": "overlay2",
        "data_root": "/var/lib/docker",
        "logging_driver": "json-file",
        "live_restore": False,
        "default_runtime": "runc",
        "security": ["name=seccomp,profile=default"],
        "mirrors": [],
        "insecure": [],
    }


def weights_facts(node):
    """The checkpoints that the node's command asks for."""
    ascend = "--quantization" in node["argv"]
    return [
        {
            "path": item["path"],
            "exists": True,
            "architecture": "Eagle3LlamaForCausalLM" if item["draft"] else "MiniMaxM2ForCausalLM",
            "quantization": None if ascend or item["draft"] else "fp8",
            "description": {"FLOAT": 500, "W8A8_DYNAMIC": 60000} if ascend and not item["draft"] else None,
            "shards": 1 if item["draft"] else 125,
            "bytes": GB if item["draft"] else 230 * GB,
            "tensors": 96103,
            "index_tensors": 96103,
            "data_bytes": GB if item["draft"] else 230 * GB,
            "index_bytes": GB if item["draft"] else 230 * GB,
            "problems": [],
            "fingerprint": "5f3759df" * 8,
            "filesystem": "xfs",
            "free_bytes": 900 * GB,
            "read": {"bytes": 64 << 20, "seconds": 0.05},
            "memory": memory(item["draft"], ascend),
        }
        for item in node["weights"]
    ]


# MiniMax-M2.5, as its config.json and the headers of its shards say.
MODEL = {"layers": 62, "kv_heads": 8, "head_dim": 128, "latent": None, "max_len": 196608}


def memory(draft, ascend):
    """The bytes of a checkpoint by kind: experts in FP8 or INT8, the rest of the model, and its dimensions."""
    if draft:
        return {"experts": {}, "dense": {"BF16": GB}, "model": dict(MODEL, layers=1)}
    kind = "I8" if ascend else "F8_E4M3"
    return {"experts": {kind: 225 * GB}, "dense": {kind: 3 * GB, "BF16": 2 * GB}, "model": dict(MODEL)}


def host_facts(node):
    chips = sum(1 for path in node["container"]["devices"] if re.match(r"/dev/davinci\d+$", path))
    limits = {"nofile": [1048576, 1048576], "memlock": [-1, -1], "nproc": [-1, -1]}
    return {
        "python": "3.9.9",
        "kernel": "5.10.0-216.0.0.115.oe2203sp4.aarch64",
        "machine": "aarch64",
        "os": {"id": "openEuler", "version": "22.03", "name": "openEuler 22.03 (LTS-SP4)"},
        "memory": {
            "total": 2 << 40,
            "available": 3 << 39,
            "swap_total": 0,
            "swap_free": 0,
            "hugepages": 0,
            "hugepages_free": 0,
        },
        "shm_bytes": 1 << 40,
        "limits": {"dockerd": copy.deepcopy(limits), "containerd": copy.deepcopy(limits)},
        "cpus": {"present": 24 * chips, "online": 24 * chips},
        "numa": [{"node": number, "cpus": 3 * chips, "memory": 1 << 38} for number in range(8)],
        "cpufreq": {"cpus": 24 * chips, "writable": 24 * chips, "governors": ["performance"]},
        "sysctls": {"vm.swappiness": "10"},
        "selinux": "disabled",
        "apparmor": None,
        "disks": {"/": 200 * GB, "/var": 200 * GB, "/tmp": 200 * GB},
        "virtual": "",
        "uptime": 86400.0,
        "load": [0.1, 0.1, 0.1],
        "time_sync": ["chronyd"],
        "stale": [],
        "driver": {"version": "25.5.1", "package": "25.5.1", "compatible": [["7.0.0", "7.5.99"]]},
        "firmware": {
            "version": "7.5.0.1.129",
            "package": "25.5.1",
            "compatible": [["25.5.0", "25.5.0."], ["25.5.1", "25.5.1."]],
        },
    }


def machine_facts(node):
    """What a node that is not busy, and on which nothing is left, says of itself."""
    chips = [int(path[12:]) for path in node["container"]["devices"] if re.match(r"/dev/davinci\d+$", path)]
    return {
        "chips": chips,
        "late": [],
        "busy": {
            "load": [1.2, 1.1, 1.0],
            "cpus": 192,
            "pressure": {"cpu": 0.5, "io": 0.0, "memory": 0.0},
            "blocked": [],
        },
        "owners": {},
        "holders": [],
        "rank_tables": [],
        "files": [],
    }


def devices(node, hbm=65536):
    """The idle chips of a node, as far as the checks of this module's users read them."""
    per_npu = {"a2": 1, "a3": 2}[node["hardware"]]
    return [
        {
            "npu_id": number // per_npu,
            "chip_id": number % per_npu,
            "phy_id": number if per_npu == 2 else None,
            "hbm_used_mb": 3300,
            "hbm_total_mb": hbm,
            "processes": [],
        }
        for number in machine_facts(node)["chips"]
    ]


def own_facts(node):
    """All of them, and what else the checks of engine, weights, host and versions use."""
    return copy.deepcopy(
        {
            **machine_facts(node),
            "python": "3.9.9",
            "engine": engine_facts(node),
            "archive": None,
            "weights": weights_facts(node),
            "host": host_facts(node),
            "npu": {"driver_version": "25.5.1", "devices": devices(node)},
            "driver_package": "25.5.1",
            "service_pids": [],
        }
    )


def put(*path_and_value):
    """A change of facts: the value at a path."""
    *path, last, value = path_and_value

    def change(facts):
        inner = facts
        for key in path:
            inner = inner[key]
        inner[last] = copy.deepcopy(value)

    return change


def evaluated(module, node, change=None, policy=None):
    """{id: verdict} of a domain on a node whose healthy facts were changed; each verdict must be complete."""
    facts = own_facts(node)
    if change:
        change(facts)
    checks = module.evaluate(node, facts, policy if policy is not None else {"driver_min": "25.0", "min_python": "3.8"})
    return whole(checks, module)


def whole(checks, module):
    """{id: verdict}; each must have all its texts, and be in the domain's catalogue."""
    for check in checks:
        assert set(check) == {"id", "verdict", "seen", "wanted", "remedy"}, check
        assert check["seen"] and check["wanted"], check
        assert check["remedy"] or check["verdict"] in ("pass", "skipped"), check
        assert check["id"] in module.CHECKS, check
    assert len({check["id"] for check in checks}) == len(checks)
    return {check["id"]: check for check in checks}


def catalogue(module):
    """The entries of the catalogue are complete."""
    for name, entry in module.CHECKS.items():
        assert isinstance(entry, Check), name
        assert entry.why and entry.read and entry.remedy, name
        assert entry.why.endswith(".") and entry.remedy.endswith("."), name
        assert not entry.source or entry.source.startswith("https://"), name


# Facts of an unknown node, of an older version, or of a node on which nothing could be read.
EMPTY = [{}, {"engine": None, "weights": None, "host": None, "npu": None}, {"engine": {}, "weights": [], "host": {}}]
