# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known causes of a service that does not start, by its log."""

from __future__ import annotations

import re

# (id, pattern, what it means and what to do), the most specific first.
SIGNATURES = (
    (
        "unknown-argument",
        r"\berror: unrecognized arguments: .*",
        "vLLM in this image does not know an argument. Take it out of vllm_recipe_args, or choose a release that has it "
        "with vllm_recipe_release.",
    ),
    ("bad-argument", r"\berror: argument .*", "vLLM refuses an argument. Correct it in vllm_recipe_args."),
    (
        "port-in-use",
        r"Address already in use|already bound|bound already|EADDRINUSE|errno:? ?98\b|specific port\[\d+\] fail",
        "A port that the service needs is taken. 'ss -ltnp' on the node shows by whom; stop it, or choose another port in "
        "vllm_recipe_args (port, data-parallel-rpc-port) or vllm_recipe_env (HCCL_IF_BASE_PORT).",
    ),
    (
        "npu-out-of-memory",
        r"NPU out of memory|No available memory for the cache blocks|Free memory on device"
        r"|larger than the (available KV cache memory|maximum number of tokens that can be stored in KV cache)",
        "The HBM does not hold the model and its KV cache. Lower max-num-seqs, max-num-batched-tokens or max-model-len in "
        "vllm_recipe_args; 'npu-smi info' shows whether something else holds memory.",
    ),
    (
        "host-out-of-memory",
        r"\bMemoryError|Cannot allocate memory|oom-kill|Killed process",
        "The host's memory ran out. 'free -g' and 'dmesg | grep -i oom' on the node.",
    ),
    (
        "shared-memory",
        r"No space left on device.*shm|/dev/shm.*No space|unable to (mmap|open shared memory)|Bus error",
        "The container's shared memory is too small. Raise vllm_recipe_container.shm_size.",
    ),
    (
        "hccl-timeout",
        # Not the names of settings, nor the warning of torch_npu that a timeout "was set to" something.
        r"EI0006|EI0002|hcclCommInitRootInfo.*error|socket.*timeout.*HCCL|socket (times out|establish timeout)"
        r"|HCCL(?!_)(?!.*was set to).*(timeout|time out|timed out|times out)",
        "The chips of the nodes did not find each other in time. Check that all nodes of the replica run, that TLS is the "
        "same on all ('hccn_tool -i N -tls -g'), that links are up ('hccn_tool -i N -link -g') and that chips reach each "
        "other ('hccn_tool -i N -ping -g address IP').",
    ),
    (
        "peer-missing",
        r"Did not receive response from front-end process|Timed out waiting for (engine|coordinator)"
        r"|DistStoreError|Timed out after .* waiting for clients",
        "The nodes of the replica did not find each other. Check that the primary runs and that its RPC port can be "
        "reached from the secondary through the firewall.",
    ),
    (
        "weights-missing",
        r"Repo id must be in the form|does not appear to have a file named|Invalid repository ID or local directory"
        r"|Cannot find any model weights|(FileNotFoundError|OSError).*(safetensors|config\.json)"
        r"|not a valid model identifier|SafetensorError",
        "The weights are not where the command looks for them, or are incomplete. Compare vllm_recipe_weights_dir with "
        "the directory on the node; it holds one directory per checkpoint.",
    ),
    (
        "driver",
        r"dcmi module initialize failed|drvRet=|Can't get ascend_hal device count|libascend_hal\.so"
        r"|rtGetDeviceCount.*failed|error code is 507\d{3}",
        "The NPU driver does not answer inside the container. 'npu-smi info' on the node; then the devices and driver "
        "mounts of the plan.",
    ),
    (
        "device-used",
        r"device is used|(?<!\w)-8020\b|device is occupied",
        "Another container holds a chip. 'docker ps' and 'npu-smi info' on the node show which.",
    ),
    ("bad-value", r"Value error, .*", "vLLM refuses a value of its configuration. Correct it in vllm_recipe_args."),
    (
        "error",
        r"(ValueError|AssertionError|NotImplementedError|RuntimeError|ImportError): .*",
        "vLLM ended with an error that is not among the known ones.",
    ),
)


def diagnose(log):
    """The known causes that *log* shows: at most two of ``{"id", "line", "advice"}``, the most specific first."""
    found = []
    for name, pattern, advice in SIGNATURES:
        match = re.search(pattern, log, re.I)
        if match and not (found and name == "error"):
            end = log.find("\n", match.end())
            line = log[match.start() : end if end >= 0 else len(log)].strip()
            found.append({"id": name, "line": line[:300], "advice": advice})
    return found[:2]
