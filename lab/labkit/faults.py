"""What can be broken on a node, as data: a description, a default argument, and shell text to break and to mend.

The shell text runs in the node through the engine, so that it works when the network does not. `$1` is the argument.
A fault without shell text is one that the stand-ins read from the state file.
"""

import shlex
from typing import NamedTuple

from .nodes import inside, must_exist, split
from .util import LabError

A2_WEIGHTS = "/opt/data/verification/models/MiniMax-M2.5"
A3_WEIGHTS = "/mnt/sfs_turbo/.cache/MiniMax-M2.5-w8a8-QuaRot"
# A file that the engine or a container has bound cannot be replaced, so it is written in place.
KEEP = "cp -n {0} /var/lib/ascend-lab/{1}.good; "
PUT_BACK = (
    "if [ -e /var/lib/ascend-lab/{1}.good ]; then cat /var/lib/ascend-lab/{1}.good > {0}; "
    "rm /var/lib/ascend-lab/{1}.good; fi"
)
KEEP_CONF, PUT_BACK_CONF = KEEP.format("/etc/hccn.conf", "conf"), PUT_BACK.format("/etc/hccn.conf", "conf")
HIDE = "mkdir -p /var/lib/ascend-lab/hidden && mv {0} /var/lib/ascend-lab/hidden/{1}"
SHOW = "if [ -e /var/lib/ascend-lab/hidden/{1} ]; then mv /var/lib/ascend-lab/hidden/{1} {0}; fi"
GOVERNORS = (
    "for file in /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor; do mount -o remount,{},bind $file; done"
)


class Fault(NamedTuple):
    text: str
    default: str = ""
    breaks: str = ""
    mends: str = ""


def edited_conf(text, default, expression):
    """A fault of /etc/hccn.conf: a sed expression, in which $1 is the chip."""
    return Fault(
        text,
        default,
        KEEP_CONF + "own=$(hostname | sed 's/.*node//'); "
        f'sed "{expression}" /etc/hccn.conf > /run/hccn.conf && cat /run/hccn.conf > /etc/hccn.conf',
        PUT_BACK_CONF,
    )


def hidden(path, name, text):
    return Fault(text, "", HIDE.format(path, name), SHOW.format(path, name))


# The node's engine answers with other words: a wrapper before it, and a sed expression for each fault.
WRAPPER = """#!/bin/sh
case $1 in
  version|info|image) /usr/bin/docker "$@" > /run/lab-docker.$$ 2>&1; rc=$?
    sed "$(cat /run/lab-docker.d/*)" /run/lab-docker.$$; rm -f /run/lab-docker.$$; exit $rc ;;
  *) exec /usr/bin/docker "$@" ;;
esac
"""
# A container that needs no image of its own: the node's /usr in an empty one.
EMPTY_IMAGE = "tar -cf - -T /dev/null | docker import --change 'CMD [\"true\"]' - lab-empty > /dev/null; "
MEMINFO = "sed '{1}' /proc/meminfo > /run/meminfo.{0}; mount --bind /run/meminfo.{0} /proc/meminfo"
EDIT_JSON = (
    'python3 -c "import json, sys; path, value = sys.argv[1:]; data = json.load(open(path)); {1}; '
    'open(path, \'w\').write(json.dumps(data, indent=2) + chr(10))" {0} "$1"'
)


def engine_says(name, text, default, expression):
    """A fault of what the engine tells: a sed expression, in which $1 is the argument."""
    return Fault(
        text,
        default,
        f"mkdir -p /run/lab-docker.d; printf '%s\\n' \"{expression}\" > /run/lab-docker.d/{name}; "
        f"printf '%s' {shlex.quote(WRAPPER)} > /usr/local/bin/docker; chmod 755 /usr/local/bin/docker",
        f"rm -f /run/lab-docker.d/{name}; rmdir /run/lab-docker.d 2>/dev/null && rm -f /usr/local/bin/docker || true",
    )


def meminfo(name, text, expression):
    """A fault of memory: sed expressions on a copy of /proc/meminfo."""
    return Fault(text, "", MEMINFO.format(name, expression), "umount /proc/meminfo 2>/dev/null || true")


def edited_json(path, text, default, change, back):
    """A fault of a JSON file of the weights: a change of `data`, in which `value` is the argument."""
    return Fault(text, default, EDIT_JSON.format(path, change), EDIT_JSON.format(path, back))


FAULTS = {
    # npu-smi
    "unhealthy-chip": Fault("a chip's health is Alarm; CHIP or CHIP:HEALTH (Warning, Alarm, Critical, UNKNOWN)", "3"),
    "missing-chip": Fault("a chip vanishes from npu-smi without a word", "3"),
    "busy-chip": Fault(
        "a foreign process uses a chip",
        "0",
        "systemd-run --quiet --unit lab-busy-chip bash -c 'exec -a python3.10 sleep infinity' "
        "2>/dev/null; "
        "systemctl show --property MainPID --value lab-busy-chip > /run/ascend-lab-busy.pid",
        "systemctl stop lab-busy-chip 2>/dev/null; rm -f /run/ascend-lab-busy.pid",
    ),
    "stale-engine": Fault(
        "a VLLM::EngineCore of an earlier service lives on",
        "",
        "systemd-run --quiet --unit lab-stale-engine bash -c 'exec -a VLLM::EngineCore_DP0 sleep infinity'",
        "systemctl stop lab-stale-engine 2>/dev/null || true",
    ),
    "held-chip": Fault(
        "HCCP of a job that ended has a chip open, which npu-smi does not list",
        "0",
        "systemd-run --quiet --unit lab-held-chip bash -c 'exec 9</dev/davinci'$1'; exec -a hccp_service sleep infinity'",
        "systemctl stop lab-held-chip 2>/dev/null || true",
    ),
    "device-used": Fault("npu-smi fails with -8020: another container holds the chips"),
    "driver-down": Fault("npu-smi fails with -8005: no driver, or no permission"),
    "npu-smi-not-permitted": Fault("npu-smi fails with -8002"),
    "npu-smi-no-library": Fault("npu-smi fails to load libc_sec.so, status 127"),
    "npu-smi-hangs": Fault("npu-smi never returns"),
    "npu-smi-garbled": Fault("npu-smi prints rubbish and status 0"),
    "npu-smi-noise": Fault("a warning stands before npu-smi's table"),
    "npu-smi-missing": hidden("/usr/local/bin/npu-smi", "npu-smi", "there is no npu-smi"),
    "old-driver": Fault(
        "the driver is an old one",
        "23.0.rc1",
        "cp -n /usr/local/Ascend/driver/version.info /var/lib/ascend-lab/version.info.good; "
        'sed -i "s/^\\(Version\\|package_version\\)=.*/\\1=$1/" /usr/local/Ascend/driver/version.info',
        "if [ -e /var/lib/ascend-lab/version.info.good ]; then "
        "mv /var/lib/ascend-lab/version.info.good /usr/local/Ascend/driver/version.info; fi",
    ),
    "no-device-nodes": Fault(
        "/dev/davinci* are gone",
        "",
        "rm -f /dev/davinci* /dev/devmm_svm /dev/hisi_hdc",
        "/usr/local/lib/ascend-lab/devices",
    ),
    # hccn
    "no-hccn-conf": hidden("/etc/hccn.conf", "hccn.conf", "there is no /etc/hccn.conf"),
    "rank-table-left": Fault(
        "another tool left what tells HCCL of ranks",
        "",
        "echo '{}' > /etc/hccl_rootinfo.json",
        "rm -f /etc/hccl_rootinfo.json",
    ),
    "address-missing": edited_conf("a chip has no address", "0", "/^[a-z]*_$1=/d"),
    "netmask-differs": edited_conf(
        "a chip has a netmask of its own", "0", "s/^netmask_$1=.*/netmask_$1=255.255.255.0/"
    ),
    "duplicate-address": edited_conf(
        "a chip has the address of the same chip of its neighbour: node 2 that of node 1, node 1 that of node 2",
        "0",
        "s/^address_$1=\\([0-9]*\\.[0-9]*\\)\\.[0-9]*/address_$1=\\1.$((own % 2 ? own + 1 : own - 1))/",
    ),
    "hccn-conf-differs": Fault("a chip has another address than /etc/hccn.conf says", "0"),
    "hccn-fails": Fault("hccn_tool says Command execute failed"),
    "hccn-hangs": Fault("hccn_tool never returns for a chip", "0"),
    "hccn-tool-missing": hidden("/usr/local/Ascend/driver/tools/hccn_tool", "hccn_tool", "there is no hccn_tool"),
    "net-unhealthy": Fault("a chip's port is up and reaches nothing: net health is Socket failed", "0"),
    "ping-fails": Fault("nothing that a chip pings answers", "0"),
    "superpod-differs": Fault("an A3 node is of another super-pod"),
    "link-down": Fault("a chip's RoCE link is down", "0"),
    "optics-missing": Fault("a chip's optical module is missing", "0"),
    "tls-differs": Fault("TLS is on for a chip, off for all others", "0"),
    "no-switch": Fault("no LLDP peer: chips cabled back to back"),
    # the node
    "port-taken": Fault(
        "something else listens on a port",
        "20004",
        'systemd-run --quiet --unit lab-port-$1 python3 -c "import socket, time; s = socket.socket(); '
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); "
        "s.bind(('0.0.0.0', $1)); s.listen(); time.sleep(10 ** 8)\"; sleep 0.3; "
        "systemctl is-active --quiet lab-port-$1",
        "systemctl stop lab-port-$1 2>/dev/null; systemctl reset-failed lab-port-$1 2>/dev/null || true",
    ),
    "weights-missing": hidden("$weights", "weights", "the model's folder is gone"),
    "weights-incomplete": hidden("$weights/model-00002-of-00002.safetensors", "shard", "a shard of the model is gone"),
    "weights-truncated": Fault(
        "a shard of the model is cut short",
        "",
        "cp -n $weights/model-00002-of-00002.safetensors /var/lib/ascend-lab/shard.good && "
        "truncate -s 1000 $weights/model-00002-of-00002.safetensors",
        "if [ -e /var/lib/ascend-lab/shard.good ]; then mv /var/lib/ascend-lab/shard.good "
        "$weights/model-00002-of-00002.safetensors; fi",
    ),
    "cut-off": Fault(
        "nothing passes between the node and other nodes (their whole addresses); the controller still reaches it",
        "10.213.0.11,10.213.0.12",
        "iptables -I INPUT -s $1 -j DROP; iptables -I OUTPUT -d $1 -j DROP",
        "iptables -D INPUT -s $1 -j DROP; iptables -D OUTPUT -d $1 -j DROP",
    ),
    "engine-down": Fault(
        "the node's Docker engine is stopped",
        "",
        "systemctl stop docker.socket docker",
        "systemctl start docker.socket docker",
    ),
    "unreachable": Fault(
        "no sshd: connection refused, and open sessions are cut",
        "",
        "systemctl stop ssh; pkill -x sshd || true",
        "systemctl start ssh",
    ),
    "mtu-differs": Fault(
        "the node's network has another MTU", "1400", "ip link set eth0 mtu $1", "ip link set eth0 mtu 1500"
    ),
    "prefix-differs": Fault(
        "the node's network has another prefix length; 25 keeps it within reach",
        "25",
        "own=$(ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/;q'); ip addr add $own/$1 dev eth0; "
        "ip addr del $own/24 dev eth0; ip route replace default via 10.213.0.1",
        "own=$(ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/;q'); ip addr add $own/24 dev eth0; "
        "ip addr del $own/$1 dev eth0; ip route replace default via 10.213.0.1",
    ),
    "hostname-loopback": Fault(
        "the node's own name is 127.0.1.1",
        "",
        KEEP.format("/etc/hosts", "hosts")
        + "{ echo 127.0.1.1 $(hostname); grep -vw $(hostname) /etc/hosts; } > /run/hosts && cat /run/hosts > /etc/hosts",
        PUT_BACK.format("/etc/hosts", "hosts"),
    ),
    "firewall-drops": Fault(
        "the node drops new connections to a port, or to a range such as 32768:59999",
        "20004",
        "iptables -I INPUT -p tcp --syn --dport $1 -j DROP",
        "iptables -D INPUT -p tcp --syn --dport $1 -j DROP",
    ),
    "ports-not-reserved": Fault(
        "HCCL's ports are given to outgoing connections",
        "",
        "echo > /proc/sys/net/ipv4/ip_local_reserved_ports",
        "echo 60000-60015 > /proc/sys/net/ipv4/ip_local_reserved_ports",
    ),
    "network-down": Fault(
        "the node's network is cut, while everything on it goes on",
        "",
        "ip link set eth0 down",
        "ip link set eth0 up; ip route replace default via 10.213.0.1",
    ),
    "governor-read-only": Fault(
        "the CPU governor cannot be written", "", GOVERNORS.format("ro"), GOVERNORS.format("rw")
    ),
    "no-cpufreq": Fault(
        "the kernel has no cpufreq",
        "",
        "umount -R /sys/devices/system/cpu",
        "mountpoint -q /sys/devices/system/cpu || /usr/local/lib/ascend-lab/cpufreq",
    ),
    "no-migration-cost": Fault(
        "no /sys/kernel/debug/sched: debugfs is not mounted",
        "",
        "umount /sys/kernel/debug",
        "mountpoint -q /sys/kernel/debug || { mount -t tmpfs -o size=64k,mode=700 tmpfs "
        "/sys/kernel/debug && mkdir /sys/kernel/debug/sched && "
        "echo 500000 > /sys/kernel/debug/sched/migration_cost_ns; }",
    ),
    # engine and image
    "foreign-container": Fault(
        "another container holds a chip",
        "0",
        EMPTY_IMAGE + "docker run --detach --name lab-foreign-$1 --network none --device /dev/davinci$1 "
        "--volume /usr:/usr:ro --volume /lib:/lib:ro --volume /lib64:/lib64:ro lab-empty /usr/bin/sleep infinity "
        "> /dev/null",
        "docker rm --force lab-foreign-$1 > /dev/null; docker rmi lab-empty > /dev/null 2>&1 || true",
    ),
    "old-container": Fault(
        "a stopped container of an earlier deployment",
        "",
        EMPTY_IMAGE + "docker create --name lab-old --label ascend_ops.vllm.service=old lab-empty > /dev/null",
        "docker rm --force lab-old > /dev/null; docker rmi lab-empty > /dev/null 2>&1 || true",
    ),
    "name-taken": Fault(
        "a container that this collection did not make has the name of the service's",
        "minimax2_5",
        EMPTY_IMAGE + "docker rename $1 lab-kept 2>/dev/null; docker create --name $1 lab-empty > /dev/null",
        "docker rm --force $1 > /dev/null; docker rename lab-kept $1 2>/dev/null; "
        "docker rmi lab-empty > /dev/null 2>&1 || true",
    ),
    "image-missing": Fault(
        "neither the image nor its archive is on the node",
        "quay.io/ascend/vllm-ascend:v0.20.2rc1",
        "for tag in $1 $1-a3; do docker tag $tag lab-hidden:${tag##*:} 2>/dev/null && docker rmi $tag > /dev/null; done; "
        "mount -t tmpfs -o size=64k tmpfs /opt/images",
        "umount /opt/images; for tag in $1 $1-a3; do "
        "docker tag lab-hidden:${tag##*:} $tag 2>/dev/null && docker rmi lab-hidden:${tag##*:} > /dev/null; done; true",
    ),
    "old-engine": engine_says("version", "the engine says that it is an old one", "18.09.0", "s/^20[.].*/$1/"),
    "no-cgroup-driver": engine_says(
        "cgroup", "the engine has no cgroup driver", "", r"s/\"CgroupDriver\":\"[a-z]*\"/\"CgroupDriver\":\"none\"/"
    ),
    "wrong-image-architecture": engine_says(
        "architecture",
        "the image is for another machine",
        "arm64",
        r"s/\"Architecture\": \"[a-z0-9]*\"/\"Architecture\": \"$1\"/",
    ),
    "wrong-image-chip": engine_says(
        "soc", "the image is for another chip", "ascend310p3", r"s/\"Env\": \[/\"Env\": [\"SOC_VERSION=$1\",/"
    ),
    "image-differs": engine_says(
        "id",
        "the image is another one than on the other nodes",
        "f00dfeed0000",
        r"s/\"Id\": \"sha256:[0-9a-f]\{12\}/\"Id\": \"sha256:$1/",
    ),
    "ascend-runtime": engine_says(
        "runtime",
        "Ascend's runtime is the engine's default",
        "",
        r"s/\"DefaultRuntime\":\"[a-z]*\"/\"DefaultRuntime\":\"ascend\"/",
    ),
    "wrong-image-kernels": Fault(
        "CANN in the image is 8.5.1 and has operators for another chip alone",
        "ascend310p",
        "home=/run/lab-layer/usr/local/Ascend/cann; mkdir -p $home/aarch64-linux "
        "$home/opp/built-in/op_impl/ai_core/tbe/kernel/$1/ops_legacy && "
        "echo version=8.5.1 > $home/aarch64-linux/ascend_toolkit_install.info; "
        + engine_says("layers", "", "", r"s#\"UpperDir\": \"[^\"]*\"#\"UpperDir\": \"/run/lab-layer\"#").breaks,
        "rm -rf /run/lab-layer; " + engine_says("layers", "", "", "").mends,
    ),
    "engine-slow": Fault(
        "every command of the engine takes so many seconds longer",
        "40",
        "printf '#!/bin/sh\\nsleep %s\\nexec /usr/bin/docker \"$@\"\\n' $1 > /usr/local/bin/docker; "
        "chmod 755 /usr/local/bin/docker",
        "rm -f /usr/local/bin/docker",
    ),
    "engine-disk-full": Fault(
        "64 MB are left where the engine says that its data is",
        "",
        "mkdir -p /run/lab-small && mount -t tmpfs -o size=64m tmpfs /run/lab-small; "
        + engine_says("root", "", "", r"s#/var/lib/docker#/run/lab-small#").breaks,
        "umount /run/lab-small 2>/dev/null; " + engine_says("root", "", "", "").mends,
    ),
    # weights
    "draft-missing": hidden("${weights%/*}/Eagle3", "draft", "the draft model's folder is gone"),
    "weights-differ": edited_json(
        "$weights/generation_config.json",
        "the weights are another revision than on the other nodes",
        "",
        "data['top_k'] = 41",
        "data['top_k'] = 40",
    ),
    "wrong-architecture": edited_json(
        "$weights/config.json",
        "the weights are those of another model",
        "Qwen3MoeForCausalLM",
        "data['architectures'] = [value]",
        "data['architectures'] = ['MiniMaxM2ForCausalLM']",
    ),
    "wrong-quantization": edited_json(
        "$weights/config.json",
        "the weights are quantized by another method",
        "awq",
        "data['quantization_config'] = {'quant_method': value}",
        "data.pop('quantization_config', None)",
    ),
    "huge-weights": Fault(
        "the weights are so many GB that they do not load in time (a hole in a file, no space is used)",
        "4000",
        "cp -n $weights/model.safetensors.index.json /var/lib/ascend-lab/index.good; "
        'python3 -c "import json, os, struct, sys; '
        "folder, size = sys.argv[1], int(sys.argv[2]) * 10 ** 9; name = 'model-lab-huge.safetensors'; "
        "head = json.dumps({'lab.huge': {'dtype': 'U8', 'shape': [size], 'data_offsets': [0, size]}}).encode(); "
        "file = open(folder + '/' + name, 'wb'); file.write(struct.pack('<Q', len(head)) + head); "
        "file.truncate(8 + len(head) + size); file.close(); "
        "path = folder + '/model.safetensors.index.json'; index = json.load(open(path)); "
        "index['weight_map']['lab.huge'] = name; open(path, 'w').write(json.dumps(index))\" $weights $1",
        "rm -f $weights/model-lab-huge.safetensors; if [ -e /var/lib/ascend-lab/index.good ]; then "
        "mv /var/lib/ascend-lab/index.good $weights/model.safetensors.index.json; fi",
    ),
    # the machine
    "old-firmware": Fault(
        "the firmware is one that was not released for the driver",
        "1.80.22.2.220",
        KEEP.format("/usr/local/Ascend/firmware/version.info", "firmware")
        + 'sed -i "s/^Version=.*/Version=$1/; s/^compatible_version_drv=.*/compatible_version_drv=[22.0.0,22.0.4.]/" '
        "/usr/local/Ascend/firmware/version.info",
        PUT_BACK.format("/usr/local/Ascend/firmware/version.info", "firmware"),
    ),
    "low-memory": meminfo(
        "memory",
        "the node has 600 MB of memory, and hardly any is free",
        "s/^MemTotal:.*/MemTotal: 600000 kB/; s/^MemAvailable:.*/MemAvailable: 100 kB/",
    ),
    "swapped-out": meminfo(
        "swap", "5 GiB are swapped out", "s/^SwapTotal:.*/SwapTotal: 8388608 kB/; s/^SwapFree:.*/SwapFree: 3145728 kB/"
    ),
    "idle-hugepages": meminfo(
        "hugepages",
        "most of the memory is reserved as huge pages that nobody uses",
        "s/^HugePages_Total:.*/HugePages_Total: 10240/; s/^HugePages_Free:.*/HugePages_Free: 10240/; "
        "s/^Hugepagesize:.*/Hugepagesize: 2048 kB/",
    ),
    "low-ulimit": Fault(
        "the engine may open few files",
        "1024",
        "prlimit --pid $(pidof -s dockerd) --nofile=$1:$1",
        "systemctl restart docker",
    ),
    "uneven-numa": Fault(
        "the CPUs are spread unevenly over two NUMA nodes",
        "",
        "mount -t tmpfs -o size=64k tmpfs /sys/devices/system/node && cd /sys/devices/system/node && mkdir node0 node1 && "
        "echo 0-31 > node0/cpulist && echo 32-39 > node1/cpulist && "
        "for n in 0 1; do echo Node $n MemTotal: 1048576 kB > node$n/meminfo; done",
        "! mountpoint -q /sys/devices/system/node || umount /sys/devices/system/node",
    ),
    "selinux-enforcing": Fault(
        "SELinux is enforcing, and the engine uses it",
        "",
        "printf '#!/bin/sh\\necho Enforcing\\n' > /usr/local/bin/getenforce; chmod 755 /usr/local/bin/getenforce; "
        + engine_says("selinux", "", "", r"s/\"name=seccomp/\"name=selinux\",\"name=seccomp/").breaks,
        "rm -f /usr/local/bin/getenforce; " + engine_says("selinux", "", "", "").mends,
    ),
    "config-disk-full": Fault(
        "the disk that takes the launch files is full",
        "",
        "mkdir -p /etc/ascend-vllm && mount -t tmpfs -o size=64k tmpfs /etc/ascend-vllm",
        "! mountpoint -q /etc/ascend-vllm || umount /etc/ascend-vllm; rmdir /etc/ascend-vllm 2>/dev/null || true",
    ),
}


def find(what):
    if what not in FAULTS:
        raise LabError(f"no such fault: {what}. `lab faults` lists them.")
    return FAULTS[what]


def script(node, text, argument):
    weights = A2_WEIGHTS if split(node)[0] == "a2" else A3_WEIGHTS
    return f"weights={weights}; set -- {shlex.quote(argument)}; {text}"


def do_break(node, what, argument=None):
    fault = find(what)
    must_exist(node)
    argument = fault.default if argument is None else argument
    if argument and not fault.default:
        raise LabError(f"{what} takes no argument")
    known = argument in inside(node, f"lab-state values {what}").stdout.splitlines()
    already = what in inside(node, "lab-state names").stdout.split()
    if known if fault.default else already:
        return
    inside(node, f"lab-state add {what} {shlex.quote(argument)}")
    if fault.breaks:
        inside(node, script(node, fault.breaks, argument))


def mend(node, what=None):
    """Take back one fault, or all there are."""
    if what:
        find(what)
    must_exist(node)
    broken = inside(node, "lab-state names").stdout.split()
    for name in [name for name in broken if what in (None, name)]:
        for argument in inside(node, f"lab-state values {name}").stdout.splitlines() or [""]:
            if find(name).mends:
                inside(node, script(node, find(name).mends, argument))
        inside(node, f"lab-state drop {name}")
