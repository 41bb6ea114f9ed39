"""What a dead container's log says: each known cause in the words that vLLM, torch_npu and CANN print."""

from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.causes import SIGNATURES, diagnose

# Real logs of the lab's two nodes, from the start to the first answers.
LOGS = Path(__file__).parent / "fixtures" / "logs"
HEALTHY = {path.stem: path.read_text() for path in LOGS.glob("healthy-*.txt")}
WORKER = "(Worker_DP0_TP3_EP3 pid=412) ERROR 11-25 06:11:34 [multiproc_executor.py:962] "
CORE = "(EngineCore_DP0 pid=21) ERROR 11-25 06:11:34 [core.py:790] "
PORT = "(ApiServer_0 pid=22) "

# (what the log says, the cause's id, a word of its advice)
SAID = [
    ("vllm: error: unrecognized arguments: --max-num-sqs 48", "unknown-argument", "vllm_recipe_args"),
    ("vllm serve: error: argument --port: invalid int value: 'http'", "bad-argument", "vllm_recipe_args"),
    (PORT + "OSError: [Errno 98] Address already in use", "port-in-use", "ss -ltnp"),
    (CORE + "zmq.error.ZMQError: Address already in use (addr='tcp://10.0.0.11:2347')", "port-in-use", "rpc-port"),
    (
        "[W1125 socket.cpp:767] [c10d] The server socket has failed to bind to [::]:29500 (errno: 98 - Address already in "
        "use).",
        "port-in-use",
        "port",
    ),
    (
        WORKER
        + "EJ0003: [PID: 159] 2026-11-25-06:01:02.816.428 Failed to bind the IP port. Reason: The IP address and "
        "port have been bound already.",
        "port-in-use",
        "HCCL_IF_BASE_PORT",
    ),
    (
        "[ERROR] HCCL(60570,):2026-11-25-06:46:07.911.312 [hccl_socket.cc:106] socket type[0], listen on ip[192.0.2.195] "
        "and specific port[16666] fail. Please check the port status.",
        "port-in-use",
        "ss -ltnp",
    ),
    (
        WORKER + "RuntimeError: NPU out of memory. Tried to allocate 22.00 MiB (NPU 0; 60.97 GiB total capacity)",
        "npu-out-of-memory",
        "max-num-seqs",
    ),
    (WORKER + "torch.OutOfMemoryError: NPU out of memory. Tried to allocate 72.00 MiB", "npu-out-of-memory", "HBM"),
    (
        CORE + "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
        "npu-out-of-memory",
        "max-model-len",
    ),
    (
        CORE
        + "ValueError: Free memory on device (3.2/60.9 GiB) on startup is less than desired GPU memory utilization",
        "npu-out-of-memory",
        "npu-smi info",
    ),
    (
        CORE + "ValueError: To serve at least one request with the models's max seq len (138000), 9.1 GiB KV cache is "
        "needed, which is larger than the available KV cache memory (4.2 GiB).",
        "npu-out-of-memory",
        "max-model-len",
    ),
    (WORKER + "MemoryError", "host-out-of-memory", "free -g"),
    ("OSError: [Errno 12] Cannot allocate memory", "host-out-of-memory", "dmesg"),
    (
        "RuntimeError: unable to open shared memory object </torch_7_1> in read-write mode: No space left on device (28)",
        "shared-memory",
        "shm_size",
    ),
    ("OSError: [Errno 28] No space left on device: '/dev/shm/psm_1'", "shared-memory", "shm_size"),
    (
        WORKER + "[PID: 749] 2026-11-25-03:16:15.787.356 Get_Socket_Timeout(EI0006): Getting socket times out. Reason: "
        "1. The remote does not initiate a connect request.",
        "hccl-timeout",
        "hccn_tool",
    ),
    (
        "[ERROR] HCCL(2717288,python3):2026-11-25-03:49:57.177.194 [hccl_socket_manager.cc:778] [Wait][LinkEstablish]wait "
        "socket establish timeout, role[1] rank[12] timeout[120]",
        "hccl-timeout",
        "-tls -g",
    ),
    ("RuntimeError: Did not receive response from front-end process within 5 minutes", "peer-missing", "primary runs"),
    (
        "torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 1/2 clients joined.",
        "peer-missing",
        "firewall",
    ),
    (
        "OSError: Can't load the configuration of '/opt/models/MiniMax-M2.5': does not appear to have a file named "
        "config.json",
        "weights-missing",
        "vllm_recipe_weights_dir",
    ),
    (
        "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': "
        "'/opt/models/MiniMax-M2.5'.",
        "weights-missing",
        "vllm_recipe_weights_dir",
    ),
    (CORE + "RuntimeError: Cannot find any model weights with `/opt/models/X`", "weights-missing", "weights"),
    (
        WORKER
        + "safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not fully "
        "covered",
        "weights-missing",
        "incomplete",
    ),
    ("dcmi module initialize failed. ret is -8005", "driver", "npu-smi info"),
    ("ImportError: libascend_hal.so: cannot open shared object file: No such file or directory", "driver", "mounts"),
    ("dcmi model initialized failed, because the device is used. ret is -8020", "device-used", "docker ps"),
    (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig\n"
        "  Value error, expert_tensor_parallel_size is not supported",
        "bad-value",
        "vllm_recipe_args",
    ),
    (CORE + "ValueError: PCP (Prefill Context Parallelism) is not supported by vLLM Ascend", "error", "not among"),
]


@pytest.mark.parametrize("said, cause, advice", SAID)
def test_known_cause(said, cause, advice):
    (found,) = diagnose(HEALTHY["healthy-primary"] + said + "\nTraceback (most recent call last):\n")
    assert found["id"] == cause
    assert advice in found["advice"]
    assert found["line"] and found["line"] in said and "\n" not in found["line"] and len(found["line"]) <= 300


def test_every_signature_has_a_case():
    assert {cause for _said, cause, _advice in SAID} == {name for name, _pattern, _advice in SIGNATURES}


@pytest.mark.parametrize("name", HEALTHY)
def test_no_false_alarm_on_a_healthy_log(name):
    assert "Starting to load model" in HEALTHY[name]
    assert diagnose(HEALTHY[name]) == []


@pytest.mark.parametrize(
    "line",
    [
        "[rank7]:[W609 compiler_depend.ts:877] Warning: The HCCL execution timeout was set to never timeout, so it is "
        "bigger than watchdog timeout 1800000ms which is set by init_process_group!",
        "INFO 11-25 06:00:00 [envs.py:1] HCCL_CONNECT_TIMEOUT=7200 HCCL_EXEC_TIMEOUT=3600",
        "INFO 11-25 06:00:00 [selector.py:28] The attention backend AscendAttentionBackend is used",
        "TypeError: argument of type 'NoneType' is not iterable",
        "INFO 11-25 06:00:00 [api_server.py:1] Supported port range 8000-8020",
        "[W1125 utils.cpp:41] Warning: numa_migrate_pages failed. errno: 1 (function init_cpu_memory_env)",
        "WARNING 11-25 06:00:00 [shm_broadcast.py:1] No available shared memory broadcast block found in 60 seconds.",
        "",
    ],
)
def test_no_false_alarm(line):
    assert diagnose(line) == []


def test_the_most_telling_cause_comes_first_and_at_most_two():
    log = "\n".join(
        [
            CORE + "RuntimeError: Engine core initialization failed. See root cause above.",
            WORKER + "RuntimeError: NPU out of memory. Tried to allocate 22.00 MiB",
            PORT + "OSError: [Errno 98] Address already in use",
            "OSError: [Errno 12] Cannot allocate memory",
        ]
    )
    assert [found["id"] for found in diagnose(log)] == ["port-in-use", "npu-out-of-memory"]
    assert [found["id"] for found in diagnose(log.splitlines()[0])] == ["error"]
