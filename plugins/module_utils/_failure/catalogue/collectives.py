# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HCCL, the fabric between chips, and the transfer of KV caches."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.cause import FOLLOWS, GENERAL, OUTER, Cause

HCCL = "CANN, HCCL errors"
TIMEOUT = "time-out of HCCL"
RANK_TABLE = "rank table left over"
TRANSFER = "KV transfer"

CAUSES = (
    Cause(
        "link-down",
        "link down",
        "A chip's RoCE port is down<<, device {chip}>>.",
        "'hccn_tool -i CHIP -link -g', '-optical -g' and '-lldp -g' on the node: optics, cable, switch port. preflight.yml checks the "
        "links of all chips.",
        patterns=(
            r"(device (?P<chip>\d+) .{0,200})?network port is down",
            r"\b(link|port|nic)\b (status )?is down|linkdown",
        ),
        codes=("EJ0002", "507056"),
        examples=("EJ0002: [PID: 380] 2026-11-20-12:45:31.202.787 The network port is down.",),
        source="CANN, HCCP errors; vllm-ascend issue 1815",
    ),
    Cause(
        "tls-different",
        "TLS different",
        "The chips of the replica do not have the same TLS setting.",
        "'hccn_tool -i CHIP -tls -g' on all nodes: the switch must be the same everywhere; "
        "'hccn_tool -i CHIP -tls -s enable 0' turns it off.",
        patterns=(
            r"\btls\w*\b.{0,60}(differ|inconsisten|not consistent|not the same|mismatch)|(inconsisten|differ)\w* .{0,20}\btls\b",
        ),
        examples=("[ERROR] HCCL(60570,python3): TLS status of the local and remote NIC is inconsistent",),
        source="HCCL documentation",
    ),
    Cause(
        "lldp",
        "LLDP",
        "A chip's port has no neighbour on the switch (LLDP).",
        "'hccn_tool -i CHIP -lldp -g' on the node, and LLDP on the switch's port.",
        patterns=(r"\blldp\b.{0,60}(fail|no neighbou?r|not found|error|unavailable)",),
        examples=("[ERROR] HCCP(31): get lldp information of port failed",),
        source="hccn_tool",
    ),
    Cause(
        "transport-failed",
        "peer failed",
        "The connection to a chip at the other end did not come up.",
        "Look at the other end first: the log of its node, and the links and addresses of its chips ('hccn_tool -i CHIP -link -g', "
        "'-ip -g', '-ping -g address IP'). preflight.yml with npu_preflight_all_pairs=true tries each pair.",
        patterns=(r"transport init error|Create Dest error|Initialize_Transport",),
        codes=("EI0009",),
        rank=FOLLOWS,
        examples=(
            "EI0009: [PID: 2225] 2026-11-20-20:59:48.119.066 Transport init error. Reason: [Create][DestLink]Create Dest error! "
            "createLink para:rank[1]",
        ),
        source=HCCL + "; vllm-ascend issue 3162",
    ),
    Cause(
        "peer-failed",
        "peer failed",
        "Another rank of a collective failed or is late; this one only noticed<<: rank {rank}>>.",
        "Look at the other ranks and nodes for an earlier error: logs.yml shows all. Where no one has an error, the links lose "
        "packets ('hccn_tool -i CHIP -stat -g') or one rank is slow (HCCL_EXEC_TIMEOUT).",
        patterns=(
            r"Watchdog caught collective operation timeout|Notify register waits|Waiting peer (rank|end): (?P<rank>\d+)"
            r"|remote rank:? ?\[?(?P<rank>\d+)|error cqe|CQE occurred|SDMA .{0,30}exception",
            r"HCCL function error.*error code is 21\b",
        ),
        codes=("EI0002", "EI0012", "EI0013", "EI0018"),
        rank=FOLLOWS,
        examples=(
            "[PID: 9] Communication_Error_Timeout(EI0002): A timeout occurs when the Notify register waits for execution. Waiting peer "
            "rank: 12",
        ),
        source=HCCL,
    ),
    Cause(
        "rank-table",
        RANK_TABLE,
        "HCCL reads a rank table that does not fit this replica.",
        "Take RANK_TABLE_FILE out of vllm_recipe_env and out of the image's environment, and move away /etc/hccl_rootinfo.json where "
        "another tool left one: the replica needs none.",
        patterns=(
            r"rank ?table( file)?\b.{0,80}(fail|invalid|error|missing|not)",
            r"(fail|invalid|error)\w* .{0,20}rank ?table",
            r"hccl_rootinfo\.json(?!.{0,40}(No such file|not exist))(?<!access '/etc/hccl_rootinfo.json)",
        ),
        codes=("EI0004", "EI0014", "EI0017", "EJ0004"),
        examples=("EI0004: Failed to parse the ranktable file /etc/ranktable.json. Reason: invalid",),
        source=HCCL,
    ),
    Cause(
        "hccl-environment",
        "value refused",
        "HCCL refuses a value of its environment<<: {name}>><< is {value}>><<, wanted {wanted}>>.",
        "Correct it in vllm_recipe_env.",
        patterns=(
            r"Value (?P<value>\S+) for environment variable (?P<name>\w+) is invalid(?:\. Expected value: (?P<wanted>[^.\n]+))?",
            r"Value (?P<value>\S+) for config (?P<name>\w+) is invalid(?:\. Expected value: (?P<wanted>[^.\n]+))?",
            r"Environment variable \[?(?P<name>\w+)\]? is invalid|Config_Error_Invalid_Environment_Variable",
        ),
        codes=("EI0001", "EI0016"),
        examples=(
            "EI0001: [PID: 12] Value abc for environment variable HCCL_CONNECT_TIMEOUT is invalid. Expected value: 120 to 7200.",
        ),
        source=HCCL,
    ),
    Cause(
        "cann-versions-differ",
        "vllm and vllm-ascend do not belong together",
        "The nodes of the replica do not run the same CANN.",
        "The same image on all nodes: preflight.yml compares them; take vllm_recipe_image out of host_vars.",
        patterns=(r"(HCCL|toolkit|cann\S*) versions? (is|are) inconsistent|Incorrect_HCCL_Version",),
        codes=("EI0008",),
        examples=(
            "EI0008: The HCCL versions are inconsistent. The local version is 8.5.0, while the remote version is 8.3.0.",
        ),
        source=HCCL,
    ),
    Cause(
        "chips-not-connected",
        "EP without a switch",
        "Two chips of the replica cannot reach each other directly.",
        "Within a node: set HCCL_INTRA_ROCE_ENABLE=1 in vllm_recipe_env where the chips have no HCCS between them. Between nodes: a "
        "switch, or a topology without expert parallel across nodes.",
        patterns=(r"P2P communication failed|Communication_Error_P2P",),
        codes=("EI0010",),
        examples=("EI0010: P2P communication failed. Reason: the devices are not connected by HCCS",),
        source=HCCL,
    ),
    Cause(
        "hccl-buffsize",
        "value refused",
        "HCCL_BUFFSIZE is too small for the experts' exchange<<: {mb} MB are needed>>.",
        "Set HCCL_BUFFSIZE in vllm_recipe_env<< to {mb} or more>> (MB), or lower max-num-batched-tokens and max-num-seqs.",
        patterns=(
            r"HCCL_BUFFSIZE\D{0,30}too small.*NEEDED_HCCL_BUFFSIZE.*?=\s*(?P<mb>\d+)\s*MB",
            r"NEEDED_HCCL_BUFFSIZE.*?=\s*(?P<mb>\d+)\s*MB|HCCL_BUFFSIZE\D{0,40}(too small|insufficient|not enough|at least (?P<least>\d+))",
        ),
        details=(r"NEEDED_HCCL_BUFFSIZE.*?=\s*(?P<mb>\d+)\s*MB",),
        examples=(
            "[ERROR] OP(55,python3): HCCL_BUFFSIZE is too SMALL, maxBs = 256, h = 7168, epWorldSize = 16, "
            "NEEDED_HCCL_BUFFSIZE((maxBs * h)) = 4300MB, HCCL_BUFFSIZE=200MB.",
        ),
        source="CANN, moe_distribute_dispatch",
    ),
    Cause(
        "moe-exchange",
        "kernel failed on the chip",
        "The exchange between experts failed; mostly chips of different nodes do not reach each other, or HCCL_BUFFSIZE is too small.",
        "preflight.yml with npu_preflight_all_pairs=true tries each pair of chips; then TLS and CANN the same on all nodes, a switch "
        "between A2 nodes, and a higher HCCL_BUFFSIZE in vllm_recipe_env. CANN's log (diagnostics.yml collects it) names the reason.",
        patterns=(
            r"(npu_)?moe_?distribute_?(dispatch|combine)\w*.{0,200}(error|fail)|aclnnMoeDistribute\w*.{0,60}(error|fail)"
            r"|(all_?to_?all\w*|dispatch_ffn_combine)\b.{0,80}error code is 561\d{3}",
        ),
        examples=(
            "RuntimeError: npu_moe_distribute_dispatch_v2:build/CMakeFiles NPU function error: call aclnnMoeDistributeDispatchV4 "
            "failed, error code is 561000",
        ),
        source="vllm-ascend issue 9872",
    ),
    Cause(
        "collectives-unsupported",
        "operator not supported by this CANN",
        "HCCL does not support this collective on this board or topology (its code 5).",
        "Not a time-out. Compare hardware and image (images for A3 end with -a3), the number of chips of the group, and HCCL_ variables "
        "in vllm_recipe_env; start once with fewer parallel options.",
        patterns=(
            r"HCCL function error.*error code is 5\b|HCCL_E_NOT_SUPPORT|HCCL \w+: Unsupported data type|ERR02007|hcclComm\w*\(.*error code is 5\b",
        ),
        examples=(
            "RuntimeError: create_config:torch_npu/csrc/distributed/HCCLUtils.cpp:148 HCCL function error: "
            "hcclCommInitRootInfoConfig(numRanks, &rootInfo, rank, config, &(comm->hcclComm_)), error code is 5",
        ),
        source="CANN, HcclResult; GPUStack issue 4652",
    ),
    Cause(
        "hccl-timeout",
        TIMEOUT,
        "The chips of the nodes did not find each other in time.",
        "Look first for an earlier error of another node. Then: all nodes of the replica run, TLS is the same on all ('hccn_tool -i "
        "CHIP -tls -g'), links are up ('-link -g'), chips reach each other ('-ping -g address IP'), and HCCL_SOCKET_IFNAME names "
        "the interface of the plan.",
        patterns=(
            # Not the names of settings, nor the warning of torch_npu that a timeout "was set to" something.
            r"Get_Socket_Timeout|socket.*timeout.*HCCL|socket (times out|establish timeout)|Ranktable_Detect|rootInfo detect",
            r"(?<!Work)HCCL(?!_|UniqueId)(?!.{0,200}(was set to|hcclUniqueId)).{0,200}(timeout|time out|timed out|times out)"
            r"|HCCL function error.*error code is (9|11|12)\b"
            r"|errNo\[0x0*50000(09|0b|0c)\]",
        ),
        codes=("EI0006", "EI0015"),
        rank=GENERAL,
        examples=(
            "[PID: 749] 2026-11-25-03:16:15.787.356 Get_Socket_Timeout(EI0006): Getting socket times out. Reason: 1. The remote does "
            "not initiate a connect request.",
        ),
        source=HCCL,
    ),
    Cause(
        "collective-arguments",
        "peer failed",
        "The ranks do not agree on a collective: they do not run the same code or the same options.",
        "The same image and the same plan on all nodes: deploy all of them in one run, without --limit.",
        codes=("EI0003", "EI0005"),
        patterns=(r"inconsistent between ranks",),
        examples=(
            "EI0005: The parameters of operator AllReduce are inconsistent between ranks, parameter count is 4 and 8.",
        ),
        source=HCCL,
    ),
    Cause(
        "kv-transfer-start",
        TRANSFER,
        "The engine that transfers KV caches does not start.",
        "Look for the earlier error of its transport (a link that is down, a port that is taken). kv_port of each process must be free "
        "and outside the range that the engine draws from.",
        patterns=(
            r"Failed to initialize (AdxlEngine|HIXL|the transfer engine|Mooncake)|(Adxl|HIXL|hixl)\w*.{0,40}init\w* fail",
            r"TransferEngine.{0,40}(init|install)\w*.{0,30}(fail|error)|Mooncake.{0,60}(init|setup)\w*.{0,20}(fail|error)|(init"
            r"|setup)\w* .{0,20}mooncake.{0,30}fail"
            r"|LLMDataDist\.init\] failed|Failed to (mount segment|register (local )?mem\w*|register rpc meta)|register_local_memory_failed"
            r"|Mooncake memory registration failed",
        ),
        codes=("503900", "103900", "103905"),
        rank=GENERAL,
        examples=("RuntimeError: Failed to initialize AdxlEngine, status: 503900",),
        source="HIXL error codes; Mooncake",
    ),
    Cause(
        "kv-transfer-connect",
        TRANSFER,
        "A process cannot reach another one to transfer KV caches<<: {peer}>>.",
        "The other side must run and its kv_port and data ports must pass the firewall; chips of both sides must reach each other "
        "('hccn_tool -i CHIP -ping -g address IP').",
        patterns=(
            r"(cannot|failed to|unable to) (connect|open|get)\w* .{0,30}(segment|target):? ?(?P<peer>[\d.]+:\d+)?"
            r"|Failed to connect.{0,40}(segment|metadata|engine)"
            r"|Connect timeout to:? ?(?P<peer>[\d.]+:\d+)|LLM_LINK_FAILED|\[link\w*\] failed",
            r"(adxl|hixl|mooncake|transfer ?engine|kv transfer)\b.{0,80}(connect|link).{0,40}(fail|time ?d? ?out|refused|error)",
        ),
        codes=("103901", "103902", "103903", "103904"),
        examples=("RuntimeError: transfer engine: connect failed, status 103901",),
        source="HIXL error codes; Mooncake",
    ),
    Cause(
        "hccl-resources",
        "HBM",
        "HCCL ran out of a resource of the chip: memory for its buffers, or streams.",
        "Lower HCCL_BUFFSIZE in vllm_recipe_env (MB, one buffer for each communicator), gpu-memory-utilization or the number of "
        "cudagraph_capture_sizes in vllm_recipe_args.",
        patterns=(r"Resources are exhausted|Failed to allocate resource",),
        codes=("EI0007",),
        examples=(
            "RuntimeError: EI0007: [PID: 50935] Failed to allocate resource Memory with info size:209715200. Reason: Resources are exhausted.",
        ),
        source=HCCL + "; vllm-ascend issue 2643",
    ),
    Cause(
        "kv-transfer-failed",
        TRANSFER,
        "A KV cache was not transferred to the other side.",
        "Look for the earlier error of both sides. Chips of both must reach each other ('hccn_tool -i CHIP -ping -g address IP'), and sizes and "
        "ports of both must be those of one plan.",
        patterns=(r"(mooncake|kv|cache) transfer (failed|error)|transfer_sync\w*.{0,40}(fail|error|-1)",),
        rank=FOLLOWS,
        examples=("RuntimeError: Mooncake transfer failed, ret: -1",),
        source="vllm-ascend issues 3724 and 4866",
    ),
    Cause(
        "hccl-call",
        "CANN runtime",
        "A collective failed; the code of the outer call alone decides nothing.",
        "Look for EI and EJ codes in the log of all nodes, and read CANN's log (diagnostics.yml collects it).",
        patterns=(r"HCCL function error|errNo\[0x0*5\d{6}\]",),
        rank=OUTER,
        examples=("RuntimeError: HCCL function error: HcclAllreduce(...), error code is 4",),
        source=HCCL,
    ),
)
