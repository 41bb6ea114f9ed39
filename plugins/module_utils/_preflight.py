# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks before a deploy, as pure functions over the plan and the facts that the nodes told.

A verdict is ``{id, verdict, seen, wanted, remedy}`` with *verdict* one of pass, warn, fail, unknown, skipped. What a
node did not tell is unknown, never pass.
"""

from __future__ import absolute_import, annotations, division, print_function

__metaclass__ = type

from ansible_collections.ascend_ops.vllm.plugins.module_utils._npu_checks import judge_npu
from ansible_collections.ascend_ops.vllm.plugins.module_utils._verdict import WORDS as ORDER
from ansible_collections.ascend_ops.vllm.plugins.module_utils._verdict import verdict

SCHEMA_VERSION = 1


def judge(nodes, facts, min_driver="", oldest_driver=""):
    """Judge all nodes of a plan.

    :param nodes: the plan's nodes.
    :param facts: host to what the module node_facts returned, or ``{"error": str}`` where it could not be asked.
    :param min_driver: the driver version that is demanded; empty for none.
    :param oldest_driver: the oldest driver that the image's CANN is published for; older ones give a warning.
    :return: a list of reports, one per replica: ``{schema_version, replica, nodes: [{host, checks}], summary}``.
    """
    reports = {}
    for node in nodes:
        told = facts.get(node["host"]) or {"error": "nothing was heard of it"}
        checks = judge_node(node, told, min_driver, oldest_driver)
        report = reports.setdefault(
            node["replica"], {"schema_version": SCHEMA_VERSION, "replica": node["replica"], "nodes": []}
        )
        report["nodes"].append({"host": node["host"], "checks": checks})
    for replica, report in reports.items():
        members = [node for node in nodes if node["replica"] == replica]
        for entry in report["nodes"]:
            entry["checks"].extend(judge_replica(entry["host"], members, facts))
        words = [check["verdict"] for entry in report["nodes"] for check in entry["checks"]]
        report["summary"] = {word: words.count(word) for word in ORDER}
    return list(reports.values())


def judge_node(node, facts, min_driver="", oldest_driver=""):
    """The verdicts on one node by itself."""
    if facts.get("error"):
        return [
            verdict(
                "node.reachable",
                "fail",
                facts["error"],
                "an answer over SSH",
                "Check power, network and SSH key: 'ssh {0}'. A replica cannot start without all its nodes.".format(
                    node["address"]
                ),
            )
        ]
    checks = [verdict("node.reachable", "pass", "Python {0}".format(facts["python"]), "an answer over SSH")]
    checks.append(
        verdict(
            "node.rights",
            "pass" if facts["root"] else "fail",
            "root" if facts["root"] else "an ordinary user",
            "root",
            "Set ansible_become, or connect as root.",
        )
    )
    checks.append(_address(node, facts))
    checks.extend(_npu(node, facts, min_driver, oldest_driver))
    checks.append(_devices(node, facts))
    checks.append(_driver_files(node, facts))
    checks.append(_hccn_conf(node, facts))
    checks.extend(_ports(node, facts))
    checks.extend(_engine(node, facts))
    checks.extend(_weights(node, facts))
    return checks


def _address(node, facts):
    network = facts["network"]
    if network["error"]:
        return verdict(
            "network.address",
            "unknown",
            network["error"],
            "the node's addresses",
            "The command 'ip' (package iproute2 or iproute) tells them.",
        )
    if network["interface"]:
        return verdict(
            "network.address",
            "pass",
            "{0} on {1}".format(node["address"], network["interface"]),
            "{0} on an interface".format(node["address"]),
        )
    own = ", ".join(
        "{0} ({1})".format(*item)
        for item in sorted(network["addresses"].items())
        if item[1] != "lo" and not item[0].startswith("fe80")
    )
    return verdict(
        "network.address",
        "fail",
        "the node has {0}".format(own or "no address"),
        "{0} on an interface".format(node["address"]),
        "Set vllm_recipe_address to the node's own address on the network that joins the nodes.",
    )


def _npu(node, facts, min_driver, oldest_driver):
    davinci = [path for path in node["container"]["devices"] if path[len("/dev/davinci") :].isdigit()]
    expect = {
        "chips": len(davinci),
        "product": node["hardware"],
        "idle": True,
        "min_driver": min_driver or oldest_driver or None,
        "own_pids": facts["service_pids"],
    }
    checks = judge_npu(facts["npu"], expect)
    for check in checks:
        if check["id"] == "npu.driver" and not min_driver and check["verdict"] == "fail":
            # Published for, not proven to need: older drivers are known to work with some releases.
            check["verdict"] = "warn"
        if check["id"] == "npu.idle.hbm" and facts["service_pids"] and check["verdict"] != "pass":
            check.update(verdict="skipped", remedy="Its own service runs on this node.")
    return checks


def _devices(node, facts):
    missing = [path for path in node["container"]["devices"] if not facts["devices"].get(path)]
    return verdict(
        "npu.devices",
        "fail" if missing else "pass",
        "missing: {0}".format(", ".join(missing)) if missing else "{0} device nodes".format(len(facts["devices"])),
        "all devices of the plan",
        "The driver makes them: 'systemctl status' of the driver's services, 'dmesg | grep -i davinci'.",
    )


def _driver_files(node, facts):
    missing = [
        mount["source"]
        for mount in node["container"]["mounts"]
        if mount["source"].startswith("/usr/local/") and not facts["paths"].get(mount["source"])
    ]
    needed = [path for path in missing if path.endswith(("lib64", "npu-smi"))]
    word = "fail" if needed else "warn" if missing else "pass"
    return verdict(
        "driver.files",
        word,
        "missing: {0}".format(", ".join(missing)) if missing else "all there",
        "the driver's files that the container shares",
        "Install the driver, or reinstall it with --full. What is missing is left out of the container.",
    )


def _hccn_conf(node, facts):
    conf = facts["hccn_conf"]
    wanted = "/etc/hccn.conf with an address for each chip"
    remedy = (
        "Set the chips' addresses with 'hccn_tool -i N -ip -s address … netmask …', which writes the file. Without it "
        "a service over several nodes starts and answers wrongly."
    )
    several = node["ranks"][2] > node["ranks"][1] - node["ranks"][0] + 1
    word = "fail" if several else "warn"
    if conf is None:
        return verdict("fabric.hccn_conf", word, "no readable /etc/hccn.conf", wanted, remedy)
    with_address = [chip for chip, entry in conf.items() if entry.get("address")]
    good = len(with_address) >= sum(1 for path in node["container"]["devices"] if path[len("/dev/davinci") :].isdigit())
    return verdict(
        "fabric.hccn_conf",
        "pass" if good else word,
        "{0} chips with an address".format(len(with_address)),
        wanted,
        remedy,
    )


def _ports(node, facts):
    checks = []
    for name, value in node["ports"].items():
        first, last = (value, value) if isinstance(value, int) else value
        wanted = "port {0} free".format(first) if first == last else "ports {0} to {1} free".format(first, last)
        if facts["ports"] is None:
            checks.append(
                verdict(
                    "port." + name,
                    "unknown",
                    "the kernel does not tell who listens",
                    wanted,
                    "See 'ss -ltnp' on the node; /proc/net/tcp cannot be read there.",
                )
            )
            continue
        taken = [item for item in facts["ports"] if first <= item["port"] <= last and not item["own"]]
        own = [item for item in facts["ports"] if first <= item["port"] <= last and item["own"]]
        if taken:
            seen = ", ".join(
                "{0} taken by {1}".format(
                    item["port"],
                    "pid {0} ({1})".format(item["pid"], item["name"]) if item["pid"] else "an unknown process",
                )
                for item in taken
            )
            checks.append(
                verdict(
                    "port." + name,
                    "fail",
                    seen,
                    wanted,
                    "Stop that process, or choose another port: vllm_recipe_args (port, data-parallel-rpc-port) or "
                    "vllm_recipe_env (HCCL_IF_BASE_PORT).",
                )
            )
        else:
            checks.append(verdict("port." + name, "pass", "in use by the service itself" if own else "free", wanted))
    return checks


def _engine(node, facts):
    engine = facts["engine"]
    image = node["container"]["image"]
    if engine["error"]:
        return [
            verdict(
                "engine.running",
                "fail",
                engine["error"],
                "an engine that answers",
                "See 'systemctl status docker' on the node.",
            ),
            verdict("image.available", "unknown", "the engine did not answer", image, "See engine.running."),
            verdict(
                "container.name",
                "unknown",
                "the engine did not answer",
                node["container"]["name"],
                "See engine.running.",
            ),
        ]
    checks = [verdict("engine.running", "pass", "version {0}".format(engine["version"]), "an engine that answers")]
    if engine["image"]:
        checks.append(verdict("image.available", "pass", engine["image"]["id"][:19], image))
    elif facts["archive"]:
        checks.append(verdict("image.available", "pass", "not loaded yet; the archive is there", image))
    elif facts["archive"] is None:
        checks.append(
            verdict(
                "image.available",
                "warn",
                "not on the node; it will be pulled",
                image,
                "Without internet, copy an archive made by 'docker save' to the node and set "
                "npu_container_image_archive.",
            )
        )
    else:
        checks.append(
            verdict(
                "image.available",
                "fail",
                "neither the image nor the archive is on the node",
                image,
                "Copy the archive to the path in npu_container_image_archive on this node.",
            )
        )
    checks.append(
        verdict(
            "container.name",
            "fail" if engine["foreign"] else "pass",
            "a container of this name that this collection did not make"
            if engine["foreign"]
            else "made by this collection"
            if engine["container"]
            else "free",
            "{0} free".format(node["container"]["name"]),
            "Remove or rename it ('docker rm -f {0}'), or set vllm_recipe_container.name.".format(
                node["container"]["name"]
            ),
        )
    )
    return checks


def _weights(node, facts):
    checks = []
    by_path = {told["path"]: told for told in facts["weights"]}
    for item in node["weights"]:
        told = by_path.get(item["path"])
        name = "weights." + ("draft" if item["draft"] else "served")
        wanted = "the checkpoint of {0} at {1}".format(item["source"], item["path"])
        remedy = "Download it there, or point vllm_recipe_weights_dir at the directory that holds {0}.".format(
            item["directory"]
        )
        if told is None:
            checks.append(verdict(name, "unknown", "the node did not tell", wanted, remedy))
        elif not told["exists"]:
            checks.append(verdict(name, "fail", "no directory {0}".format(item["path"]), wanted, remedy))
        elif told["problems"]:
            checks.append(
                verdict(
                    name,
                    "fail",
                    "; ".join(told["problems"][:3]),
                    wanted,
                    "The copy is not complete: copy or download it again. " + remedy,
                )
            )
        else:
            checks.append(
                verdict(name, "pass", "{0} shards, {1:.1f} GB".format(told["shards"], told["bytes"] / 1e9), wanted)
            )
    return checks


def judge_replica(host, members, facts):
    """The verdicts on a node that need its mates: what must be the same on all nodes of a replica."""
    if len(members) < 2:
        return []
    told = [(node["host"], facts.get(node["host"]) or {}) for node in members]
    return [
        _same(
            "replica.driver",
            host,
            [(name, _driver(fact)) for name, fact in told],
            "one driver version on all nodes",
            "Install the same driver on all nodes of the replica.",
        ),
        _same(
            "replica.image",
            host,
            [(name, _image_id(fact)) for name, fact in told],
            "one image on all nodes",
            "Load the same archive on all nodes, or remove the image where it differs ('docker rmi') and deploy again.",
            absent="skipped",
        ),
    ]


def _driver(facts):
    return (facts.get("npu") or {}).get("driver_version") or facts.get("driver_package")


def _image_id(facts):
    return (((facts.get("engine") or {}).get("image") or {}).get("id") or "")[:19] or None


def _same(name, host, values, wanted, remedy, absent="unknown"):
    seen = ", ".join("{0}: {1}".format(other, value or "not told") for other, value in values)
    if any(value is None for unused, value in values):
        return verdict(name, absent, seen, wanted, remedy)
    return verdict(name, "pass" if len({value for unused, value in values}) == 1 else "fail", seen, wanted, remedy)


def text(reports):
    """The reports as an operator reads them: per node, the worst last."""
    lines = []
    for report in reports:
        for entry in report["nodes"]:
            lines.append("{0} (replica {1})".format(entry["host"], report["replica"]))
            for check in sorted(entry["checks"], key=lambda item: ORDER.index(item["verdict"])):
                lines.append("  {0:<8}{1:<22}{2}".format(check["verdict"], check["id"], check["seen"]))
                if check["verdict"] in ("warn", "unknown", "fail"):
                    lines.append("  {0:<30}wanted: {1}".format("", check["wanted"]))
                    lines.append("  {0:<30}do: {1}".format("", check["remedy"]))
            lines.append("")
        lines.append(
            "replica {0}: {1}".format(
                report["replica"],
                ", ".join("{0} {1}".format(report["summary"][word], word) for word in ORDER if report["summary"][word]),
            )
        )
    return "\n".join(lines)


def stopping(reports, words):
    """The verdicts that stop a deploy, as sentences."""
    return [
        "{0}: {1} is {2}: seen {3}; wanted {4}. {5}".format(
            entry["host"], check["id"], check["verdict"], check["seen"], check["wanted"], check["remedy"]
        )
        for report in reports
        for entry in report["nodes"]
        for check in entry["checks"]
        if check["verdict"] in words
    ]
