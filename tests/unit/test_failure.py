"""Why a container died: each entry of the catalogue in a log of realistic size, and the rules of the search."""

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure import log as logs
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.catalogue import CAUSES
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.search import explain, first_to_fail, telling

ROOT = Path(__file__).resolve().parent.parent.parent
# Real logs of the lab's two nodes, from the start to the first answers.
LOGS = Path(__file__).parent / "fixtures" / "logs"
HEALTHY = {path.stem: path.read_text() for path in LOGS.glob("healthy-*.txt")}
WORKER = "(Worker_DP0_TP3_EP3 pid=412) ERROR 11-25 06:11:34 [multiproc_executor.py:962] "
CORE = "(EngineCore_DP0 pid=21) ERROR 11-25 06:11:34 [core.py:790] "
PORT = "(ApiServer_0 pid=22) "
FRAMES = [
    "Traceback (most recent call last):",
    *(
        f'  File "/vllm-workspace/vllm/vllm/x{n}.py", line {n}, in f\n    raise ValueError("size mismatch")'
        for n in range(20)
    ),
]


def traceback(prefix, said):
    """A traceback as vLLM logs it: each of its lines behind the prefix of the process."""
    heading = (
        ["pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig"] if said[0] == " " else []
    )
    return "\n".join(prefix + line for line in "\n".join([*FRAMES, *heading, said]).splitlines())


def death(said, workers=16):
    """A log of *workers* that all end with *said*, of the engine cores behind them and of the API server."""
    parts = [HEALTHY["healthy-primary"]]
    for n in range(workers):
        prefix = f"(Worker_DP{n // 4}_TP{n % 4}_EP{n} pid={4000 + n}) ERROR 11-25 06:11:34 [multiproc_executor.py:852] "
        parts.append(traceback(prefix, said))
    for n in range(4):
        prefix = f"(EngineCore_DP{n} pid={600 + n}) ERROR 11-25 06:11:41 [core.py:842] "
        parts.append(
            traceback(
                prefix, "Exception: WorkerProc initialization failed due to an exception in a background process."
            )
        )
    last = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
    parts.append(traceback("(APIServer pid=1) ", last))
    parts.append(
        "/usr/lib/python3.11/multiprocessing/resource_tracker.py:254: UserWarning: resource_tracker: leaked shared_memory"
    )
    return "\n".join(parts) + "\n"


EXAMPLES = [(cause.id, example) for cause in CAUSES for example in cause.examples]


@pytest.mark.parametrize(
    "cause, said", EXAMPLES, ids=[f"{cause}-{number}" for number, (cause, _) in enumerate(EXAMPLES)]
)
def test_an_entry_wins_in_the_log_of_sixteen_workers(cause, said):
    log = death(said)
    assert len(log.splitlines()) > 900
    first = explain(log)[0]
    assert first["id"] == cause
    assert first["line"] in said and first["process"].startswith("Worker_DP0")
    assert (
        first["meaning"]
        and first["advice"]
        and not set("{<>") & set(first["meaning"] + first["advice"].replace("{{.", ""))
    )


def test_every_entry_can_be_found_and_ids_are_unique():
    assert all(cause.examples or cause.exits for cause in CAUSES)
    assert all(cause.kind and cause.source for cause in CAUSES)
    assert len({cause.id for cause in CAUSES}) == len(CAUSES)


def test_advice_names_variables_and_playbooks_that_there_are():
    specs = [
        yaml.safe_load(path.read_text())["argument_specs"] for path in ROOT.glob("roles/*/meta/argument_specs.yml")
    ]
    known = {name for spec in specs for entry in spec.values() for name in entry.get("options", {})}
    for cause in CAUSES:
        assert (
            set(re.findall(r"\b(?:vllm|npu)_(?:recipe|service|preflight|container|host)_\w+", cause.advice)) <= known
        ), cause.id
        for name in re.findall(r"\b([a-z_]+\.yml)\b", cause.advice):
            assert (ROOT / "playbooks" / name).exists(), cause.id
        for name in re.findall(r"\b([a-z-]+\.md)\b", cause.advice):
            assert (ROOT / "docs" / "runbooks" / name).exists(), cause.id


# (what the log says, the cause's id, a word of its advice or meaning): more shapes of one cause, and what the log knows
SAID = [
    (CORE + "zmq.error.ZMQError: Address already in use (addr='tcp://10.0.0.11:2347')", "port-in-use", "sport = :2347"),
    (
        "[W1125 socket.cpp:767] [c10d] The server socket has failed to bind to [::]:29500 (errno: 98 - Address already in "
        "use).\nOSError: [Errno 98] Address already in use",
        "port-in-use",
        "vllm_recipe_args (port",
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
        "sport = :16666",
    ),
    (WORKER + "torch.OutOfMemoryError: NPU out of memory. Tried to allocate 72.00 MiB", "npu-out-of-memory", "HBM"),
    (
        CORE + "ValueError: To serve at least one request with the models's max seq len (138000), 9.1 GiB KV cache is "
        "needed, which is larger than the available KV cache memory (4.2 GiB). Based on the available memory, the estimated "
        "maximum model length is 63700.",
        "kv-cache",
        "to 63700 or less",
    ),
    ("OSError: [Errno 12] Cannot allocate memory", "host-out-of-memory", "dmesg"),
    (
        "RuntimeError: unable to open shared memory object </torch_7_1> in read-write mode: No space left on device (28)",
        "shared-memory",
        "shm_size",
    ),
    (
        "[ERROR] HCCL(2717288,python3):2026-11-25-03:49:57.177.194 [hccl_socket_manager.cc:778] [Wait][LinkEstablish]wait "
        "socket establish timeout, role[1] rank[12] timeout[120]",
        "hccl-timeout",
        "-tls -g",
    ),
    ("RuntimeError: Did not receive response from front-end process within 5 minutes", "peer-missing", "primary first"),
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
        "/opt/models/MiniMax-M2.5",
    ),
    ("ImportError: libascend_hal.so: cannot open shared object file: No such file or directory", "driver", "mounts"),
    (CORE + "ValueError: PCP (Prefill Context Parallelism) is not supported by vLLM Ascend", "error", "not among"),
    (WORKER + "KeyError: 'model.layers.0.self_attn.attn'", "error", "not among"),
    ("TypeError: argument of type 'NoneType' is not iterable", "error", "first that was raised"),
]


@pytest.mark.parametrize("said, cause, word", SAID)
def test_known_cause(said, cause, word):
    found = explain(HEALTHY["healthy-primary"] + said + "\nTraceback (most recent call last):\n")[0]
    assert found["id"] == cause
    assert word in found["meaning"] + found["advice"]
    assert found["line"] and found["line"] in said and "\n" not in found["line"] and len(found["line"]) <= 300


@pytest.mark.parametrize("name", HEALTHY)
def test_no_false_alarm_on_a_healthy_log(name):
    assert "Starting to load model" in HEALTHY[name]
    assert explain(HEALTHY[name]) == []


@pytest.mark.parametrize(
    "line",
    [
        "[rank7]:[W609 compiler_depend.ts:877] Warning: The HCCL execution timeout was set to never timeout, so it is "
        "bigger than watchdog timeout 1800000ms which is set by init_process_group!",
        "INFO 11-25 06:00:00 [envs.py:1] HCCL_CONNECT_TIMEOUT=7200 HCCL_EXEC_TIMEOUT=3600",
        "INFO 11-25 06:00:00 [selector.py:28] The attention backend AscendAttentionBackend is used",
        "INFO 11-25 06:00:00 [api_server.py:1] Supported port range 8000-8020",
        "[W1125 utils.cpp:41] Warning: numa_migrate_pages failed. errno: 1 (function init_cpu_memory_env)",
        "WARNING 11-25 06:00:00 [shm_broadcast.py:1] No available shared memory broadcast block found in 60 seconds.",
        "WARNING 11-25 06:00:00 [system_utils.py:1] fd limit errors like `OSError: [Errno 24] Too many open files`",
        "(APIServer pid=507015) started server process",
        "",
    ],
)
def test_no_false_alarm(line):
    assert explain(line) == []


# -- the rules --------------------------------------------------------------------------------------------------------


def ids(log, **more):
    return [cause["id"] for cause in explain(log, **more)]


def test_wrappers_are_never_a_cause():
    assert ids(death("Exception: WorkerProc hit an exception.")) == []


def test_an_error_goes_before_a_warning_that_stands_earlier():
    warning = "[rank9]:[W1120 compiler_depend.ts:57] Warning: EI0006: Getting socket times out\n"
    assert ids(warning + WORKER + "OSError: [Errno 24] Too many open files")[0] == "file-descriptors"
    assert ids(warning) == ["hccl-timeout"]


def test_a_cause_goes_before_its_echo():
    echoes = [
        CORE + "RuntimeError: ACL stream synchronize failed, error code:507011",
        "launch.sh: line 40:    17 Bus error               (core dumped) vllm serve",
        WORKER + "RuntimeError: [gloo] Connection closed by peer [10.0.0.12]:41526",
    ]
    for echo in echoes:
        assert explain(echo)[0]["consequence"] is True
        assert ids(WORKER + "KeyError: 'layers.3.attn'\n" + echo)[0] == "error"
        assert (
            ids(echo + "\n" + WORKER + "RuntimeError: NPU out of memory. Tried to allocate 2 GiB")[0]
            == "npu-out-of-memory"
        )
    (found, *_) = explain(WORKER + "KeyError: 'layers.3.attn'\n" + echoes[0])
    assert found["consequence"] is False


def test_a_code_of_the_driver_goes_before_the_call_that_failed():
    log = "RuntimeError: NPU function error: aclInit, error code is 507899\nResource_Busy(EL0005): The resources are busy.\n"
    assert ids(log)[0] == "device-used"


def test_of_two_unknown_exceptions_the_earliest_counts():
    log = WORKER + "custom.module.StrangeError: first\n" + CORE + "RuntimeError: second\n"
    assert [cause["line"] for cause in explain(log)] == ["custom.module.StrangeError: first"]


def test_at_most_three_causes_each_once():
    log = "\n".join(
        [
            WORKER + "RuntimeError: NPU out of memory. Tried to allocate 22.00 MiB",
            WORKER + "RuntimeError: NPU out of memory. Tried to allocate 23.00 MiB",
            PORT + "OSError: [Errno 98] Address already in use",
            "OSError: [Errno 12] Cannot allocate memory",
            "OSError: [Errno 24] Too many open files",
        ]
    )
    assert ids(log) == ["npu-out-of-memory", "port-in-use", "host-out-of-memory"]


@pytest.mark.parametrize(
    "code, cause", [(137, "killed"), (139, "native-crash"), (126, "not-executable"), (127, "command-not-found")]
)
def test_the_exit_code_counts_where_the_log_says_nothing(code, cause):
    assert ids(HEALTHY["healthy-primary"], exit_code=code) == [cause]
    assert ids("MemoryError", exit_code=code) == ["host-out-of-memory"]
    assert ids(HEALTHY["healthy-primary"], exit_code=1) == []


def test_what_an_old_request_caused_did_not_kill_the_service():
    serving = "(APIServer pid=1) INFO 11-25 07:00:0{} [loggers.py:1] Engine 000: Avg generation throughput: 82.1 tokens/s, Running: 1\n"
    request = "(APIServer pid=1) ERROR 11-25 06:50:00 [serving.py:1] ValueError: a request was wrong\n"
    served = HEALTHY["healthy-primary"] + request + "".join(serving.format(n) for n in range(3))
    assert ids(served + WORKER + "RuntimeError: ACL stream synchronize failed, error code:507015") == ["kernel-crash"]
    # The figure is printed some seconds after the death.
    assert ids(served + WORKER + "MemoryError\n" + serving.format(9)) == ["host-out-of-memory"]


def test_cann_s_own_log_tells_what_the_container_does_not():
    said = death("RuntimeError: HCCL function error: HcclAllreduce(...), error code is 4")
    assert ids(said) == ["hccl-call"]
    plog = "[ERROR] HCCP(88,python3):2026-11-25-06:11:30.407.487 [rs.c:12] EJ0002: The network port is down.\n"
    assert ids(said, plog=plog) == ["link-down", "hccl-call"] or ids(said, plog=plog) == ["link-down"]
    assert ids(death("OSError: [Errno 24] Too many open files"), plog=plog) == ["file-descriptors"]


def test_telling_lines_where_nothing_is_known():
    log = HEALTHY["healthy-primary"] + "strange: it cannot go on\nbye\n"
    assert explain(log) == []
    assert telling(log)[-1] == "strange: it cannot go on"
    assert telling("a\nb\n\nc\n", 2) == ["b", "c"]


def test_the_node_that_failed_first():
    oom = explain(WORKER.replace("06:11:34", "06:11:40") + "RuntimeError: NPU out of memory. Tried to allocate 2 GiB")
    echo = explain(WORKER.replace("06:11:34", "06:11:30") + "RuntimeError: SUSPECT REMOTE ERROR, error code is 507057")
    late = explain(WORKER.replace("06:11:34", "06:12:00") + "MemoryError")
    assert first_to_fail({"n1": echo, "n2": oom, "n3": late, "n4": []}) == "n2"
    assert first_to_fail({"n1": echo, "n4": []}) == "n1"
    assert first_to_fail({"n4": []}) is None


@pytest.mark.parametrize(
    "raw, process, level, time, text",
    [
        (
            "(Worker_DP0_TP3_EP3 pid=4127) ERROR 11-20 02:14:55 [multiproc_executor.py:852] boom",
            "Worker_DP0_TP3_EP3",
            "error",
            "11-20 02:14:55",
            "boom",
        ),
        (
            "2026-11-28T07:38:29.777549136Z (APIServer pid=7) INFO 11-28 07:38:28 [a.py:3] x",
            "APIServer",
            "info",
            "11-28 07:38:29.777549",
            "x",
        ),
        (
            "[rank9]:[W1120 compiler_depend.ts:57] Warning: EZ9999: Inner Error!",
            "rank9",
            "warning",
            "",
            "Warning: EZ9999: Inner Error!",
        ),
        (
            "[ERROR] ASCENDCL(88,python3):2026-11-20-01:02:03.456.789 [device.cpp:72] open",
            "",
            "error",
            "11-20 01:02:03.456",
            None,
        ),
        ('INFO:     10.0.0.1:42 - "GET /metrics HTTP/1.1" 200 OK', "", "info", "", None),
        ("/x/resource_tracker.py:254: UserWarning: leaked", "", "warning", "", None),
        ("plain", "", "", "", "plain"),
    ],
)
def test_what_stands_before_a_line(raw, process, level, time, text):
    line = logs.parse(0, raw)
    assert (line.process, line.level, line.time) == (process, level, time)
    assert text is None or line.text == text
