"""The guide's steps with pyinfra. What each node is to have is in its data: `make` in run.py fills it from the plan."""

from io import StringIO

from pyinfra import host
from pyinfra.operations import files, server

given = host.data.given

server.shell(
    name="CPU governor",
    commands=["for file in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > $file; done"],
)
server.sysctl(name="Swappiness", key="vm.swappiness", value=0)
server.sysctl(name="NUMA balancing", key="kernel.numa_balancing", value=0)
server.shell(name="Migration cost", commands=["echo 50000 > /sys/kernel/debug/sched/migration_cost_ns"])
files.directory(name="Folder", path=given["folder"])
files.put(name="Environment", src=StringIO(given["environment"]), dest=given["folder"] + "/service.env", mode="600")
files.put(name="Launch script", src=StringIO(given["launch"]), dest=given["folder"] + "/launch.sh", mode="755")
server.shell(
    name="Container",
    commands=["docker inspect {name} >/dev/null 2>&1 || docker run --detach {words}".format(**given)],
)
server.shell(
    name="Running",
    commands=[
        "[ $(docker inspect --format '{{{{.State.Running}}}}' {name}) = true ] || docker start {name}".format(**given)
    ],
)
if given["url"]:
    server.shell(
        name="Wait for an answer",
        commands=[
            "for try in $(seq 600); do curl -sf {url}/v1/models | grep -q {model} && exit 0; sleep 0.1; done; exit 1".format(
                **given
            )
        ],
    )
    server.shell(
        name="Ask", commands=["curl -sf {url}/v1/chat/completions -d '{question}' | grep tokens".format(**given)]
    )
