"""Why a service died, on logs in the shape of reports from the field that the catalogue's examples do not have.

None of the texts is copied from a report; addresses are from the ranges for documentation.
"""

import re
import time
from pathlib import Path

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.search import explain

# What healthy starts print as well.
BEFORE = """\
INFO 11-26 03:10:01 [__init__.py:36] Available plugins for group vllm.platform_plugins:
INFO 11-26 03:10:01 [__init__.py:38] - ascend -> vllm_ascend:register
INFO 11-26 03:10:01 [__init__.py:207] Platform plugin ascend is activated
WARNING 11-26 03:10:03 [_custom_ops.py:20] Failed to import from vllm._C with ModuleNotFoundError("No module named 'vllm._C'")
INFO 11-26 03:10:04 [importing.py:63] Triton not installed or not compatible; certain GPU-related functions will not be available.
(APIServer pid=1) INFO 11-26 03:10:09 [utils.py:233] non-default args: {'model': '/opt/models/M', 'tensor_parallel_size': 8}
(APIServer pid=1) `torch_dtype` is deprecated! Use `dtype` instead!
(EngineCore_DP0 pid=600) INFO 11-26 03:10:20 [core.py:94] Initializing a V1 LLM engine (v0.20.2) with config: model='/opt/models/M'
[W1126 03:10:22.000000000 compiler_depend.ts:198] Warning: Driver Version: 25.5.0 is invalid or not supported yet.
(Worker_TP0 pid=700) INFO 11-26 03:10:41 [model_runner_v1.py:2120] Starting to load model /opt/models/M...
"""
AFTER = """\
(EngineCore_DP0 pid=600) ERROR 11-26 03:12:40 [core.py:790] EngineCore failed to start.
(EngineCore_DP0 pid=600) ERROR 11-26 03:12:40 [core.py:790] Traceback (most recent call last):
(EngineCore_DP0 pid=600) ERROR 11-26 03:12:40 [core.py:790]   File "/vllm-workspace/vllm/vllm/v1/engine/core.py", line 781, in run_engine_core
(EngineCore_DP0 pid=600) ERROR 11-26 03:12:40 [core.py:790]     engine_core = EngineCoreProc(*args, **kwargs)
(EngineCore_DP0 pid=600) ERROR 11-26 03:12:40 [core.py:790]                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
(EngineCore_DP0 pid=600) ERROR 11-26 03:12:40 [core.py:790] Exception: WorkerProc initialization failed due to an exception in a background process. See stack trace for root cause.
(EngineCore_DP0 pid=600) Process EngineCore_DP0:
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)   File "/usr/local/python3.11.14/bin/vllm", line 8, in <module>
(APIServer pid=1)     sys.exit(main())
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
/usr/local/python3.11.14/lib/python3.11/multiprocessing/resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 1 leaked shared_memory objects to clean up at shutdown
[ERROR] 2026-11-26-03:12:44 (PID:1, Device:-1, RankID:-1) ERR99999 UNKNOWN applicaiton exception
"""
WORKER = "(Worker_TP{0} pid={1}) ERROR 11-26 03:12:{2:02d} [multiproc_executor.py:822] "


def raised(said, n=3, second=31):
    """A traceback of a worker, each line behind its prefix."""
    prefix = WORKER.format(n, 700 + n, second)
    lines = [
        "WorkerProc failed to start.",
        "Traceback (most recent call last):",
        '  File "/vllm-workspace/vllm-ascend/vllm_ascend/worker/worker.py", line 300, in load_model',
        "    self.model_runner.load_model()  # may raise ValueError: size mismatch",
        *said.splitlines(),
    ]
    return "".join(f"{prefix}{line}\n" for line in lines)


def died(said, second=31):
    """The log of a service whose worker 3 raised *said*, with what follows at the others."""
    peer = "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [192.0.2.11]:41526"
    return BEFORE + raised(said, 3, second) + raised(peer, 0, second + 4) + AFTER


def api(said):
    """The log of a service whose API server raised *said* before it had an engine."""
    frames = (
        'Traceback (most recent call last):\n  File "/usr/local/bin/vllm", line 8, in <module>\n    sys.exit(main())\n'
    )
    return BEFORE + "".join(f"(APIServer pid=1) {line}\n" for line in (frames + said).splitlines())


SHAPES = {"died": died, "api": api, "log": lambda said: said.replace("@before\n", BEFORE).replace("@after\n", AFTER)}
HEAD = re.compile(r"=== (?P<name>\S+) (?P<cause>\S+) (?P<shape>\w+)(?: \| (?P<word>.*))?")


def field():
    """The cases of fixtures/failures/field.txt, as parameters: wanted cause, a word of meaning or advice, log."""
    cases = []
    for line in (
        (Path(__file__).parent / "fixtures" / "failures" / "field.txt").read_text(encoding="utf-8").split("\n")[:-1]
    ):
        head = HEAD.fullmatch(line)
        if head:
            cases.append((head, []))
        else:
            cases[-1][1].append(line)
    return [
        pytest.param(head["cause"], head["word"] or "", SHAPES[head["shape"]]("\n".join([*lines, ""])), id=head["name"])
        for head, lines in cases
    ]


FIELD = field()


@pytest.mark.parametrize("cause, word, log", FIELD)
def test_the_cause_in_a_log_from_the_field(cause, word, log):
    first = (explain(log) or [{"id": "", "meaning": "", "advice": "", "line": ""}])[0]
    assert first["id"] == cause, first["line"]
    assert word in first["meaning"] + first["advice"]


# What must not be taken for a cause: healthy starts, warnings, requests that were refused, words of users.
BENIGN = [
    "The argument `trust_remote_code` is to be used with Auto classes. It has no effect here and is ignored.",
    "(APIServer pid=1) WARNING 11-26 03:10:10 [registry.py:430] Model architecture DeepSeekMTPModel is already registered, and will be overwritten",
    "INFO 11-26 03:10:10 [utils.py:233] non-default args: {'trust_remote_code': True, 'error': 'connection refused', 'model': '/m'}",
    "(APIServer pid=1) INFO 11-26 03:10:10 [logger.py:41] Received request cmpl-1: prompt: 'why does it say NPU out of memory? Killed', params: SamplingParams(n=1)",
    '(APIServer pid=1) INFO:     192.0.2.30:51022 - "POST /v1/chat/completions HTTP/1.1" 400 Bad Request',
    "(APIServer pid=1) WARNING 11-26 03:10:10 [api_server.py:1213] To indicate that the rope scaling is disabled set it to null",
    "[rank0]:[W1126 03:12:31.1 compiler_depend.ts:117] Warning: Driver Version:  is invalid or not supported yet. (function operator())",
    "[W1126 03:12:31.1 socket.cpp:464] [c10d] The hostname of the client socket cannot be retrieved. err=-3",
    "[Gloo] Rank 0 is connected to 7 peer ranks. Expected number of connected peer ranks is : 7",
    "(Worker_TP0 pid=700) INFO 11-26 03:10:10 [platform.py:183] PIECEWISE compilation enabled on NPU. use_inductor not supported - using only ACL Graph mode",
    "(Worker_TP0 pid=700) WARNING 11-26 03:10:10 [utils.py:524] Currently, communication is performed using FFTS+ method, which reduces the number of available streams",
    "(Worker_TP0 pid=700) [2026-11-26 03:10:10] WARNING cpu_binding.py:31: Permission denied to bind memory; skipped",
    "W1126 03:10:10.100200 4120 transfer_metadata_plugin.cpp:300] no usable HCA, failed to connect, falls back to TCP",
    "I20261126 03:10:10.100200 4120 ascend_direct_transport.cpp:471] connect timeout is set to 10000, failed to connect will be retried",
    "/usr/local/python3.11.14/lib/python3.11/site-packages/torch_npu/utils/storage.py:38: UserWarning: TypedStorage is deprecated. It will be removed in the future",
    "<jemalloc>: Unsupported system page size",
    "ERROR: ld.so: object '/usr/lib/aarch64-linux-gnu/libjemalloc.so.2' from LD_PRELOAD cannot be preloaded (cannot open shared object file): ignored.",
    "vllm-1  | INFO 11-26 03:10:10 [importing.py:63] Triton not installed or not compatible; certain GPU-related functions will not be available.",
    "vllm-1  | WARNING 11-26 03:10:03 [_custom_ops.py:20] Failed to import from vllm._C with ModuleNotFoundError(\"No module named 'vllm._C'\")",
    "Nov 26 03:10:10 node1 docker[991]: (EngineCore_DP0 pid=600) WARNING 11-26 03:10:10 [core.py:1] prestart hook took 3 s",
    "2026-11-26T03:10:10.100200300+08:00 stderr F INFO 11-26 03:10:10 [x.py:1] retry after Connection refused",
    "2026-11-26 03:10:10,375 - modelscope - WARNING - Using branch: master as version is unstable, use with caution",
    "2026-11-26 03:10:10,375 - modelscope - INFO - Target directory already exists, skipping creation; no such file or directory before",
    "Loading safetensors checkpoint shards: 100% Completed | 46/46 [01:30<00:00,  1.97s/it]",
    "(APIServer pid=1) INFO 11-26 03:10:10 [loggers.py:257] Engine 000: Avg prompt throughput: 507.0 tokens/s, Running: 107001 reqs",
    "(APIServer pid=1) INFO:     Shutting down",
    "(Worker_TP0 pid=700) INFO 11-26 03:10:10 [worker.py:1] Available KV cache memory: 20.1 GiB",
    "Failed core proc(s): {}",
    "........Process EngineCore_DP0:",
    "npu-smi info: NPU 507015 OK",
    "bash: /usr/local/Ascend/mindie/set_env.sh: No such file or directory",
    "ls: cannot access '/etc/hccl_rootinfo.json': No such file or directory",
    "urllib3.exceptions.NameResolutionError: Failed to resolve 'stats.vllm.ai' ([Errno -3] Temporary failure in name resolution)",
    "WARNING:root:libcudart.so.12: cannot open shared object file: No such file or directory",
    "        Solution: 1. Check whether the network port is down.",
]


@pytest.mark.parametrize("line", BENIGN)
def test_what_is_no_cause(line):
    assert explain(BEFORE + line + "\n") == []
    first = explain(BEFORE + line + "\n" + raised("OverflowError: too deep") + AFTER)[0]
    assert first["line"] == "OverflowError: too deep"


# While it serves: what clients did wrong did not kill the service.
REFUSED = """\
(APIServer pid=1) ERROR 11-26 04:00:00 [serving_chat.py:240] Error in preprocessing prompt inputs
(APIServer pid=1) ERROR 11-26 04:00:00 [serving_chat.py:240] Traceback (most recent call last):
(APIServer pid=1) ERROR 11-26 04:00:00 [serving_chat.py:240]   File "/vllm/serving_chat.py", line 230, in create_chat_completion
(APIServer pid=1) ERROR 11-26 04:00:00 [serving_chat.py:240]     raise ValueError(x)
(APIServer pid=1) ERROR 11-26 04:00:00 [serving_chat.py:240] ValueError: This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.
"""
# The same from uvicorn.
ASGI = """\
(APIServer pid=1) ERROR:    Exception in ASGI application
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)   File "/usr/lib/python3.11/site-packages/uvicorn/protocols/http/httptools_impl.py", line 409, in run_asgi
(APIServer pid=1)     result = await app(
(APIServer pid=1) ValueError: Input should be a list
(APIServer pid=1)
(APIServer pid=1) During handling of the above exception, another exception occurred:
(APIServer pid=1)
(APIServer pid=1) json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
(APIServer pid=1) INFO:     192.0.2.30:51022 - "POST /v1/chat/completions HTTP/1.1" 500 Internal Server Error
"""


def test_a_refused_request_gives_way_to_what_killed_the_service():
    log = BEFORE + REFUSED + raised("RuntimeError: NPU out of memory. Tried to allocate 1.00 GiB") + AFTER
    assert explain(log)[0]["id"] == "npu-out-of-memory"
    log = BEFORE + REFUSED + raised("RuntimeError: ACL stream synchronize failed, error code:507018") + AFTER
    assert explain(log)[0]["id"] == "aicpu-crash"
    assert explain(BEFORE + REFUSED) == []
    assert explain(BEFORE + ASGI) == []
    assert explain(BEFORE + ASGI.rpartition("(APIServer pid=1) INFO")[0] + "Killed\n")[0]["id"] == "killed"
    assert explain(BEFORE + ASGI + raised("OverflowError: too deep"))[0]["line"] == "OverflowError: too deep"


@pytest.mark.parametrize(
    "line",
    [
        "x" * 3_000_000,
        " " * 300_000,
        "error " * 200_000,
        "socket " * 100_000,
        "a.b." * 50_000,
        "'/" * 50_000,
        "| " * 50_000,
        "(" * 50_000,
    ],
    ids=["letters", "spaces", "error", "socket", "dots", "quotes", "bars", "parentheses"],
)
def test_long_lines_do_not_take_long(line):
    started = time.monotonic()
    explain("\n".join([line] * 3))
    assert time.monotonic() - started < 2


def test_three_megabytes_are_read_in_time():
    log = died("RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB")
    log = log * (3_000_000 // len(log))
    started = time.monotonic()
    assert explain(log)[0]["id"] == "npu-out-of-memory"
    assert time.monotonic() - started < 5  # less than one second on an idle machine


def test_a_flood_of_different_errors_is_bounded_and_its_first_line_counts():
    flood = "".join(
        WORKER.format(n % 16, n, 31) + f"RuntimeError: item {n} of the queue failed in {n / 7}\n" for n in range(20_000)
    )
    log = BEFORE + raised("RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB") + flood + AFTER
    started = time.monotonic()
    assert explain(log)[0]["id"] == "npu-out-of-memory"
    assert time.monotonic() - started < 10  # some two seconds on an idle machine
