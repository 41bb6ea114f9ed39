"""What is on a node, as text: two listings of a node that nobody changed are equal."""

import pytest

# Written by the system as it runs, or by the lab. The engine's data is compared by what the engine lists.
RESTLESS = (
    "/run/ascend-lab",
    "/var/lib/ascend-lab",
    "/run/systemd",
    "/run/udev",
    "/run/log",
    "/run/user",
    "/run/docker",
    "/run/containerd",
    "/run/utmp",
    "/run/docker.pid",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/systemd",
)
LISTING = (
    "find /etc /var/lib /run /usr/local -xdev "
    + " ".join(f"-path {path} -prune -o" for path in RESTLESS)
    + " -printf '%p %y %m %u %l\\n' | sort; "
    "find /etc /usr/local -xdev -type f -exec md5sum {} + | sort; "
    "systemctl list-unit-files --no-legend --plain | sort; "
    "systemctl list-units --all --no-legend --plain --type service,timer --state loaded | awk '{print $1}' | sort "
    "| grep -v '^user\\|^session'; "
    "docker ps --all --quiet; docker volume ls --quiet; docker network ls --format '{{.Name}}'; "
    "cat /proc/sys/vm/swappiness /proc/sys/kernel/numa_balancing /sys/kernel/debug/sched/migration_cost_ns "
    "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
)


@pytest.fixture
def listing():
    """A function that lists what is on a node; with a path, into a file of the node."""
    return lambda node, path="": node.check_output("{ " + LISTING + "; }" + (" > " + path if path else ""))
