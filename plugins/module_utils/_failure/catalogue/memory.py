# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of the chips and of the host, disks, limits."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.cause import FOLLOWS, GENERAL, Cause

HBM = "HBM"

CAUSES = (
    Cause(
        "kv-cache",
        "KV cache",
        "The HBM that is left for the KV cache does not hold one request of the maximum length<<: {need} GiB needed>><<, {have} GiB "
        "there>>.",
        "Set max-model-len in vllm_recipe_args<< to {length} or less>>, or give the cache more: a higher gpu-memory-utilization, a "
        "lower max-num-batched-tokens.",
        patterns=(
            r"larger than the (available KV cache memory|maximum number of tokens that can be stored in KV cache)",
            r"(?<![\d.])(?P<need>[\d.]+) ?GiB KV cache is needed, which is larger than the available KV cache memory \((?P<have>[\d.]+) ?GiB",
            r"No available memory for (the cache blocks|KV cache)|(Insufficient|Not enough) KV cache",
            r"max(imum)? (seq|model) len(gth)? .{0,60}KV cache",
        ),
        details=(
            r"estimated maximum model length is (?P<length>\d+)",
            r"can be stored in KV cache \((?P<length>\d+)\)",
            r"(?<![\d.])(?P<need>[\d.]+) ?GiB KV cache is needed.*available KV cache memory \((?P<have>[\d.]+) ?GiB",
        ),
        examples=(
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the "
            "engine.",
            "ValueError: To serve at least one request with the models's max seq len (138000), 9.1 GiB KV cache is needed, which is "
            "larger than the available KV cache memory (4.2 GiB). Based on the available memory, the estimated maximum model length "
            "is 63700.",
        ),
        source="vLLM, vllm/v1/core/kv_cache_utils.py",
    ),
    Cause(
        "hbm-taken",
        HBM,
        "Something else holds HBM: less is free than gpu-memory-utilization asks for<< ({free} of {total} GiB free, {wanted} GiB "
        "wanted)>>.",
        "'npu-smi info' on the node lists processes and memory: end what is left over. Else lower gpu-memory-utilization in "
        "vllm_recipe_args<<: {fits} is what is free now>>.",
        patterns=(
            r"Free memory on device[^(]{0,20}\((?P<free>[\d.]+)/(?P<total>[\d.]+) ?GiB\)"
            r".*?desired GPU memory utilization(?: \((?P<share>[\d.]+), (?P<wanted>[\d.]+) ?GiB\))?",
            r"Free memory on device|Error in memory profiling|is less than desired GPU memory utilization",
        ),
        examples=(
            "ValueError: Free memory on device (3.2/60.9 GiB) on startup is less than desired GPU memory utilization (0.9, 54.81 "
            "GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        ),
        derived=lambda facts: (
            {"fits": f"{int(100 * float(facts['free']) / float(facts['total'])) / 100:.2f}"} if "free" in facts else {}
        ),
        source="vLLM, worker start",
    ),
    Cause(
        "npu-out-of-memory",
        HBM,
        "The HBM of a chip does not hold what the model needs<<: {need} more on NPU {npu}, which has {total}>>.",
        "Lower max-num-seqs, max-num-batched-tokens or max-model-len, or gpu-memory-utilization where it is above 0.9, in "
        "vllm_recipe_args; spread the weights over more chips. 'npu-smi info' shows whether something else holds HBM.",
        patterns=(
            r"NPU out of memory\. Tried to allocate (?P<need>[\d.]+ \w+) \(NPU (?P<npu>\d+); (?P<total>[\d.]+ \w+) total",
            r"(NPU|HBM) out of memory|(?<!ray\.exceptions\.)OutOfMemoryError|NPUCachingAllocator.{0,60}fail",
            r"Memory_Allocation_Failure|Insufficient_Device_Memory|alloc device memory failed|aclrtMalloc\w*\b.{0,40}(fail|207001)",
            r"HCCL function error.*error code is (3|24)\b|Failed to allocate \d+ bytes of NPU memory",
        ),
        codes=("EL0004", "EI0011", "207001", "207018"),
        examples=(
            "RuntimeError: NPU out of memory. Tried to allocate 1.50 GiB (NPU 3; 61.27 GiB total capacity)",
            "[PID: 8] 2026-11-20-02:00:00 Memory_Allocation_Failure(EL0004): Failed to allocate memory.",
        ),
        source="torch_npu; CANN, EL0004; vllm-ascend issues 8294, 12685, 13218",
    ),
    Cause(
        "host-out-of-memory",
        "host memory",
        "The host's memory ran out.",
        "'free -g' and 'dmesg | grep -i oom' on the node show by what; end it. Each process that loads weights needs "
        "memory of the host: no cpu offload in vllm_recipe_args, and a shm_size below the node's memory (vllm_recipe_container).",
        patterns=(
            r"\bMemoryError\b|Cannot allocate memory(?! in static)|oom-kill|Out of memory: Kill|Killed process|std::bad_alloc",
            r"Insufficient_Host_Memory|_ArrayMemoryError|node running low on memory|killed due to memory pressure"
            r"|can't allocate memory: you tried to allocate",
        ),
        examples=("MemoryError",),
        source="Linux",
    ),
    Cause(
        "killed",
        "host memory",
        "A process was killed (SIGKILL): mostly by the kernel, for want of host memory.",
        "'dmesg | grep -i -e oom -e killed' on the node says by whom: where it was the kernel, end what else takes memory; where it was "
        "not, somebody ended the container.",
        patterns=(
            r"^(\S+: line \d+: +\d+ )?Killed\b(?! by)",
            r"exit(ed with)? ?code:? (-9|137)\b|Failed core proc.*: -9\b|signal 9\b|\bSIGKILL\b",
        ),
        exits=(137,),
        rank=GENERAL,
        examples=("/etc/ascend-vllm/vllm-ascend/launch.sh: line 40:    17 Killed                  vllm serve",),
        source="Linux",
    ),
    Cause(
        "shared-memory",
        "shared memory",
        "The container's shared memory is too small or full.",
        "Raise vllm_recipe_container.shm_size.",
        patterns=(
            r"No space left on device.*(shm|psm_|torch_\d)|(psm_|torch_\d)\S*:? .{0,40}No space left|out of shared memory"
            r"|/dev/shm.*No space|(shm|shared memory object).*No space left",
            r"unable to (mmap|open shared memory)|insufficient shared memory",
        ),
        examples=("OSError: [Errno 28] No space left on device: '/dev/shm/psm_1'",),
        source="Linux; PyTorch",
    ),
    Cause(
        "bus-error",
        "shared memory",
        "A process died of a bus error. Alone it means shared memory that is too small; after the death of another process it is "
        "only its echo.",
        "Look for an earlier error first. Where there is none, raise vllm_recipe_container.shm_size.",
        patterns=(r"\bBus error\b|\bSIGBUS\b",),
        exits=(135,),
        rank=FOLLOWS,
        examples=("launch.sh: line 40:    17 Bus error               (core dumped) vllm serve",),
        source="Linux",
    ),
    Cause(
        "disk-full",
        "disk",
        "A disk of the node is full<<: writing {path}>>.",
        "'df -h' and 'df -i' on the node for the disk behind that path (the caches of vLLM and CANN are in the container's home or in "
        "a mount of the plan): make room, or mount a larger disk with vllm_recipe_container.mounts.",
        patterns=(
            r"No space left on device(: '(?P<path>[^']+)')?",
            r"Disk quota exceeded(: '(?P<path>[^']+)')?",
        ),
        examples=("OSError: [Errno 28] No space left on device: '/root/.cache/vllm/torch_compile_cache/ab12'",),
        source="Linux",
    ),
    Cause(
        "cache-folder",
        "cache folder",
        "A folder cannot be written to<<: {path}>>.",
        "Look at owner and mode of the folder, on the node where it is mounted, and at vllm_recipe_container.user; a folder that is "
        "mounted read-only needs rw in vllm_recipe_container.mounts.",
        patterns=(
            r"Permission denied: '(?P<path>[^']*(cache|\.triton|/tmp|kernel_meta|/ascend/log|\.config)[^']*)'",
            r"Read-only file system(: '(?P<path>[^']+)')?",
            r"(mkdir|create (the )?(folder|directory)|makedirs).{0,60}(?P<path>/\S+).{0,20}(Permission denied|fail)",
        ),
        examples=("PermissionError: [Errno 13] Permission denied: '/root/.cache/vllm/torch_compile_cache'",),
        source="Linux",
    ),
    Cause(
        "file-descriptors",
        "file descriptors, threads",
        "The process may not open more files.",
        "Raise the limit of open files: LimitNOFILE of the Docker service on the node (systemctl edit docker), 1048576 or infinity.",
        patterns=(r"Too many open files|EMFILE|ulimit -n",),
        examples=("OSError: [Errno 24] Too many open files",),
        source="Linux",
    ),
    Cause(
        "threads",
        "file descriptors, threads",
        "The process may not start more threads or processes.",
        "'systemctl show docker -p TasksMax' and 'cat /proc/sys/kernel/threads-max' on the node; raise what is low. Fewer threads: "
        "OMP_NUM_THREADS in vllm_recipe_env.",
        patterns=(
            r"can't start new thread|pthread_create (failed|error)|fork: (retry: )?Resource temporarily unavailable",
            r"libgomp: Thread creation failed|Resource temporarily unavailable.{0,40}(thread|fork|process)"
            r"|\[Errno 11\] Resource temporarily unavailable|BlockingIOError: \[Errno 11\]|what\(\):\s+Resource temporarily unavailable",
        ),
        examples=("RuntimeError: can't start new thread",),
        source="Linux",
    ),
)
