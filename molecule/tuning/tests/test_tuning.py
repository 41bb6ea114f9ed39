"""What a tuned node looks like."""

import json


def value(node, path):
    return node.file(path).content_string.strip()


def test_every_cpu_has_the_governor(node, governors):
    cpus = node.check_output("ls -d /sys/devices/system/cpu/cpu[0-9]*").split()
    assert governors == ["performance"] * len(cpus)


def test_kernel_parameters(node):
    assert value(node, "/proc/sys/vm/swappiness") == "0"
    assert value(node, "/proc/sys/kernel/numa_balancing") == "0"
    assert value(node, "/sys/kernel/debug/sched/migration_cost_ns") == "50000"


def test_drop_in(node):
    file = node.file("/etc/sysctl.d/90-ascend-vllm.conf")
    lines = [line for line in file.content_string.splitlines() if not line.startswith("#")]
    assert lines == ["vm.swappiness = 0", "kernel.numa_balancing = 0"]
    assert (file.user, file.mode) == ("root", 0o644)


def test_unit_is_enabled_and_has_run(node):
    unit = node.service("ascend-vllm-host-tuning.service")
    assert unit.is_enabled and unit.is_running and unit.is_valid
    assert node.file("/etc/ascend-vllm/host-tuning.sh").mode == 0o644


def test_record_has_the_first_values_and_is_private(node):
    file = node.file("/var/lib/ascend-vllm/host_tuning.json")
    assert (file.user, file.mode) == ("root", 0o600)
    before = {path: entry["before"] for path, entry in json.loads(file.content_string)["values"].items()}
    assert before["/proc/sys/vm/swappiness"] == "60"
    assert before["/sys/kernel/debug/sched/migration_cost_ns"] == "500000"
    assert {entry for path, entry in before.items() if path.endswith("scaling_governor")} == {"schedutil"}
