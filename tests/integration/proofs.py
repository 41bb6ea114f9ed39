"""How each preflight check is proven: the fault of the lab that it detects, and what it reports.

Faults that do not hide each other are caused together, in batches, and detected in one run, without a running service.
For a check that is not listed the lab cannot cause a fault: its unit tests evaluate recorded facts.
"""

from typing import NamedTuple, Tuple


class Proof(NamedTuple):
    """A fault, the verdict of the check, and a word that its message must contain."""

    batch: int
    node: str
    fault: Tuple[str, ...]
    verdict: str
    says: str
    seen_on: str = ""  # the node with the verdict, if it is not the broken one


ONE, TWO = "a2-node1", "a2-node2"
PROOFS = {
    # faults that hide nothing
    "npu.health": Proof(1, ONE, ("unhealthy-chip", "3:Alarm"), "fail", "NPU 3"),
    "npu.idle.processes": Proof(1, ONE, ("busy-chip", "0"), "fail", "python3.10"),
    "npu.devices": Proof(1, TWO, ("no-device-nodes",), "fail", "/dev/davinci0"),
    "npu.driver": Proof(1, ONE, ("old-driver", "23.0.rc1"), "warn", "23.0.rc1"),
    "driver.same": Proof(1, ONE, ("old-driver", "23.0.rc1"), "fail", "23.0.rc1"),
    "fabric.hccn_conf": Proof(1, TWO, ("no-hccn-conf",), "fail", "hccn.conf"),
    "fabric.link": Proof(1, ONE, ("link-down", "0"), "fail", "DOWN"),
    "fabric.optics": Proof(1, ONE, ("optics-missing", "1"), "fail", "chip 1"),
    "fabric.tls": Proof(1, ONE, ("tls-differs", "2"), "fail", "2"),
    "network.hostname": Proof(1, ONE, ("hostname-loopback",), "warn", "127.0.1.1"),
    "port.hccl": Proof(1, ONE, ("port-taken", "60003"), "fail", "60003 taken by pid"),
    "port.ephemeral": Proof(1, TWO, ("ports-not-reserved",), "warn", "60000"),
    "host.ulimits": Proof(1, ONE, ("low-ulimit", "1024"), "warn", "1024"),
    "host.cpufreq": Proof(1, TWO, ("no-cpufreq",), "warn", ""),
    "host.selinux": Proof(1, TWO, ("selinux-enforcing",), "warn", "nforcing"),
    "host.memory": Proof(1, TWO, ("low-memory",), "warn", "available"),
    "host.shm": Proof(1, TWO, ("low-memory",), "warn", "shm"),
    "service.stale": Proof(1, TWO, ("stale-engine",), "fail", "VLLM::EngineCore"),
    "engine.version": Proof(1, TWO, ("old-engine", "18.09.0"), "warn", "18.09.0"),
    "image.architecture": Proof(1, ONE, ("wrong-image-architecture", "arm64"), "fail", "arm64"),
    "weights.same": Proof(1, TWO, ("weights-differ",), "fail", "a2-node1: "),
    "weights.quantization": Proof(1, ONE, ("wrong-quantization", "awq"), "fail", "awq"),
    "weights.fit": Proof(1, TWO, ("huge-weights", "4000"), "fail", "too little"),
    "process.holds_device": Proof(1, ONE, ("held-chip", "0"), "fail", "hccp_service"),
    "fabric.rank_table": Proof(1, TWO, ("rank-table-left",), "warn", "hccl_rootinfo"),
    "weights.load_time": Proof(1, TWO, ("huge-weights", "4000"), "fail", "s"),
    # a second fault of the same parts
    "npu.count": Proof(2, ONE, ("missing-chip", "3"), "fail", "7 chips"),
    "npu.firmware": Proof(2, ONE, ("old-firmware",), "warn", "1.80"),
    "fabric.net_health": Proof(2, ONE, ("net-unhealthy", "0"), "fail", "chip 0"),
    "fabric.ping": Proof(2, ONE, ("ping-fails", "1"), "fail", "1"),
    "fabric.addresses": Proof(2, TWO, ("duplicate-address", "0"), "fail", "29.1."),
    "fabric.switch": Proof(2, TWO, ("no-switch",), "fail", ""),
    "network.mtu": Proof(2, TWO, ("mtu-differs", "1400"), "warn", "1400"),
    "network.subnet": Proof(2, TWO, ("prefix-differs", "25"), "warn", "10.213.0.0/25"),
    "port.api": Proof(2, ONE, ("port-taken", "20004"), "fail", "20004 taken by pid"),
    "host.swap": Proof(2, ONE, ("swapped-out",), "warn", "5.0 of 8.0 GiB"),
    "host.hugepages": Proof(2, TWO, ("idle-hugepages",), "warn", "20.0 GiB reserved"),
    "host.numa": Proof(2, ONE, ("uneven-numa",), "warn", ""),
    "host.disk": Proof(2, ONE, ("config-disk-full",), "fail", "/etc/ascend-vllm"),
    "engine.cgroup": Proof(2, TWO, ("no-cgroup-driver",), "fail", ""),
    "image.hardware": Proof(2, ONE, ("wrong-image-chip", "ascend310p3"), "fail", "310p3"),
    "engine.runtime": Proof(2, TWO, ("ascend-runtime",), "warn", "ascend"),
    "image.kernels": Proof(2, TWO, ("wrong-image-kernels", "ascend310p"), "fail", "ascend310p"),
    "image.cann": Proof(2, TWO, ("wrong-image-kernels", "ascend310p"), "warn", "8.5.1"),
    "container.holds_device": Proof(2, ONE, ("foreign-container", "0"), "fail", "davinci0"),
    "weights.architecture": Proof(2, ONE, ("wrong-architecture",), "fail", "Qwen3MoeForCausalLM"),
    "weights.served": Proof(2, TWO, ("weights-incomplete",), "fail", "shards"),
    # faults that hide others
    "npu.tool": Proof(3, ONE, ("driver-down",), "fail", "-8005"),
    "fabric.tool": Proof(3, ONE, ("hccn-tool-missing",), "fail", "hccn_tool"),
    "engine.running": Proof(3, ONE, ("engine-down",), "fail", ""),
    "engine.storage": Proof(3, TWO, ("engine-disk-full",), "fail", "GB"),
    "image.available": Proof(3, TWO, ("image-missing",), "fail", "neither"),
    "network.firewall": Proof(3, ONE, ("firewall-drops", "20004"), "warn", ""),
    "network.reach": Proof(3, ONE, ("firewall-drops", "20004"), "fail", "20004", seen_on=TWO),
    "port.rpc": Proof(4, ONE, ("port-taken", "2347"), "fail", "2347 taken by pid"),
    "image.same": Proof(4, ONE, ("image-differs",), "fail", "f00dfeed"),
    "container.name": Proof(4, ONE, ("name-taken",), "fail", "did not create"),
    "driver.files": Proof(4, ONE, ("npu-smi-missing",), "fail", "npu-smi"),
    "node.load": Proof(4, TWO, ("npu-smi-hangs",), "warn", "npu-smi did not answer"),
    "node.reachable": Proof(5, TWO, ("unreachable",), "fail", "10.213.0.12"),
}

# Checks of the input, which no fault of the lab can break: the test that proves them.
PROVEN_BY_INPUT = {
    "network.listen": "tests/integration/test_secrets.py",
    "tls.certificate": "tests/integration/test_secrets.py",
    "files.options": "tests/integration/test_checks.py",
    "node.machine": "tests/integration/test_checks.py",
}
