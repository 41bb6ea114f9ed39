"""Why a service died, on logs in the shape of reports from the field that the catalogue's examples do not have.

None of the texts is copied from a report; addresses are from the ranges for documentation.
"""

import time

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


# (name, the wanted cause, a word of meaning or advice, log)
FIELD = []


def case(name, cause, log, word=""):
    FIELD.append(pytest.param(cause, word, log, id=name))


# -- chips ------------------------------------------------------------------------------------------------------------
case(
    "vm-device-unavailable",
    "chip-open",
    died(
        "RuntimeError: SetDevice:torch_npu/csrc/core/npu/NPUFunctions.cpp:195 NPU function error: c10_npu::SetDevice(device_id), "
        "error code is 507899\n[ERROR] 2026-11-26-03:12:31 (PID:703, Device:3, RankID:-1) ERR00100 PTA call acl api failed\n"
        "[Error]: An internal error occurs in the driver module.\nEL0001: [PID: 703] The device is unavailable, deviceId=3."
    ),
)
case(
    "npu-smi-8005-start-script",
    "driver",
    "[init] checking devices\nDrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005\n"
    "[init] npu-smi info failed with 187\n",
)
case(
    "hami-npu-smi-device-is-used-compose",
    "device-used",
    "vllm-1  | DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n"
    "vllm-1  | dcmi model initialized failed, because the device is used. ret is -8020\nvllm-1 exited with code 1\n",
)
case(
    "vnpu-invalid-device-id",
    "chip-number",
    died(
        "RuntimeError: Initialize:torch_npu/csrc/core/npu/sys_ctrl/npu_sys_ctrl.cpp:165 NPU function error: aclInit, error code is "
        "107001\n[Error]: Invalid device ID.\n        Check whether the device ID is valid."
    ),
)
case(
    "chip-of-container-all-used-plog",
    "chip-open",
    BEFORE
    + "[ERROR] DRV(703,python3):2026-11-26-03:12:31.100.200 [devdrv_manager.c:412][drv_device_open] drv open device fail, devid(3) ret(-19)\n"
    "[ERROR] RUNTIME(703,python3):2026-11-26-03:12:31.101.200 [npu_driver.cc:1391]703 DeviceOpen:[drv api] drvDeviceOpen failed: deviceId=3, drvRetCode=4!\n"
    + AFTER,
)
case(
    "resource-busy-507899-el0005",
    "device-used",
    died(
        "RuntimeError: NPU function error: aclrtSetDevice, error code is 507033\n[PID: 703] 2026-11-26-03:12:31.100.200 "
        "Resource_Busy(EL0005): The resources are busy.\n        Possible Cause: 1. The resources have been occupied. 2. The device is being reset."
    ),
)
case(
    "drvret-87-hal",
    "driver",
    BEFORE
    + "[ERROR] RUNTIME(600,python3):2026-11-26-03:12:30.101.200 [runtime.cc:2001]600 GetDeviceCount:Call drvGetDevNum failed: drvRet=87\n"
    "(EngineCore_DP0 pid=600) ERROR 11-26 03:12:40 [core.py:790] RuntimeError: Can't get ascend_hal device count\n",
)
case(
    "torch-npu-not-available",
    "no-npu-seen",
    api("RuntimeError: Device string must not be empty\n").replace(
        "Platform plugin ascend is activated", "No platform detected, vLLM is running on UnspecifiedPlatform"
    ),
)
case(
    "no-device-visible-acl-100000",
    "no-npu-seen",
    api("AssertionError: No NPU is visible: torch.npu.device_count() returned 0"),
)
case(
    "davinci-permission",
    "chip-permission",
    "[ERROR] DRV(31,python3):2026-11-26-03:12:31.100.200 [ascend_hal.c:80] open failed, path /dev/davinci_manager: Permission denied\n"
    + AFTER,
)
case(
    "docker-device-missing",
    "device-missing",
    'docker: Error response from daemon: error gathering device information while adding custom device "/dev/davinci15": no such file or directory\n',
    "/dev/davinci15",
)
case(
    "left-over-hccp",
    "hccp-left-over",
    died(
        "RuntimeError: createHCCLComm:torch_npu/csrc/distributed/ProcessGroupHCCL.cpp:2220 HCCL function error: "
        "hcclCommInitRootInfoConfig(numRanks, &rootInfo, rank, config, &(comm->hcclComm_)), error code is 7\n"
        "EJ0001: [PID: 703] 2026-11-26-03:12:31.100.200 Failed to initialize the HCCP process. Reason: Maybe the last training process is running."
    ),
)
case(
    "ray-507014-aicore-times-out",
    "kernel-crash",
    BEFORE
    + "(EngineCore_DP0 pid=600) (RayWorkerWrapper pid=918) [rank1]:[E1126 03:12:31.679153542 compiler_depend.ts:444] operator():build/CMakeFiles/torch_npu.dir/compiler_depend.ts:1153 NPU function error: call failed, error code is 507014\n"
    "(EngineCore_DP0 pid=600) (RayWorkerWrapper pid=918) [ERROR] 2026-11-26-03:12:31 (PID:918, Device:1, RankID:-1) ERR00100 PTA call acl api failed\n"
    "(EngineCore_DP0 pid=600) (RayWorkerWrapper pid=918) [Error]: The aicore execution times out.\n"
    "(EngineCore_DP0 pid=600) (RayWorkerWrapper pid=918) [PID: 918] 2026-11-26-03:12:31.230.208 AclNN_Runtime_Error(EZ9903): rtKernelLaunchWithHandleV2 failed: 507014\n"
    "(EngineCore_DP0 pid=600) (RayWorkerWrapper pid=918)         The error from device(chipId:1, dieId:0), serial number is 3, there is an exception of fftsplus aivector error\n"
    "(EngineCore_DP0 pid=600) ERROR 11-26 03:12:40 [core.py:790] ray.exceptions.RayTaskError(RuntimeError): ray::RayWorkerWrapper.execute_method() (pid=918, ip=192.0.2.12)\n",
    "chip 1",
)
case(
    "launch-507035-ez9903",
    "kernel-crash",
    BEFORE + "(EngineCore_0 pid=600) ERROR 11-26 05:10:30 [core.py:634] EngineCore encountered a fatal error.\n"
    "(EngineCore_0 pid=600) ERROR 11-26 05:10:30 [core.py:634] RuntimeError: ACL stream synchronize failed, error code:507035\n"
    "ERROR 11-26 05:10:30 [async_llm.py:416] AsyncLLM output_handler failed.\n"
    "ERROR 11-26 05:10:30 [async_llm.py:416] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.\n",
)
case(
    "hbm-ecc-dmesg-like",
    "hbm-broken",
    died(
        "RuntimeError: NPU function error: aclrtSynchronizeDevice, error code is 507054\n[Error]: HBM MULTI BIT ECC ERROR occurs."
    ),
)
case(
    "uce-error-torch",
    "hbm-broken",
    died("RuntimeError: UCE ERROR. Error code is 507053\n[Error]: mem uce."),
)
case(
    "stream-resources-207008-capture",
    "chip-resources",
    died(
        "RuntimeError: NPUStream.cpp:400 NPU function error: aclrtCreateStreamWithConfig(&stream, 0, flag), error code is 207008\n"
        "[Error]: Insufficient stream resources."
    ),
    "cudagraph_capture_sizes",
)
case(
    "capture-stream-pool",
    "graph-capture",
    died(
        "RuntimeError: NPU function error: aclmdlRICaptureBegin(stream, mode), error code is 107032\nThe current stream is not in capture state."
    ),
)
case(
    "heartbeat-lost",
    "chip-lost",
    died("RuntimeError: ACL stream synchronize failed, error code:507010\n[Error]: lost heartbeat of device 5."),
)
case(
    "aicpu-507018-alone",
    "aicpu-crash",
    died("RuntimeError: ACL stream synchronize failed, error code:507018\n[Error]: The aicpu execution is abnormal."),
)
case(
    "force-stop-107019-after-oom-of-other",
    "npu-out-of-memory",
    BEFORE
    + raised("RuntimeError: FORCE STOP\nerror code is 107019", 1, 29)
    + raised(
        "torch_npu.npu.OutOfMemoryError: NPU out of memory. Tried to allocate 256.00 MiB (NPU 3; 60.97 GiB total capacity; 58.90 GiB already allocated)",
        3,
        33,
    )
    + AFTER,
    "256.00 MiB more on NPU 3",
)
case(
    "npu-smi-missing-binding",
    "npu-smi-in-container",
    died("RuntimeError: Can not get running npu info, you can use BIND_CPU=0 to skip."),
)
case(
    "subprocess-npu-smi",
    "npu-smi-in-container",
    died("FileNotFoundError: [Errno 2] No such file or directory: 'npu-smi'"),
)

# -- image ------------------------------------------------------------------------------------------------------------
case(
    "soc-unsupported-a3-image",
    "no-kernels-for-chip",
    died(
        "RuntimeError: [Error]: The soc version is not supported.\nEZ3003: No supported Ops kernel and engine are found for [Cast], optype [Cast]."
    ),
)
case(
    "opp-binary-a2-image-on-310p",
    "no-kernels-for-chip",
    died(
        "RuntimeError: npu_rms_norm:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:20 NPU function error: call aclnnRmsNorm failed, error code is 561107\n"
        "EZ9999: Inner Error!\nEZ9999[PID: 703]: OP:RmsNorm does not has any binary."
    ),
)
case("soc-assert", "no-kernels-for-chip", died("RuntimeError: Unsupported soc version: Ascend310P3"))
case(
    "atb-env", "cann-not-set-up", api("OSError: libatb.so: cannot open shared object file: No such file or directory\n")
)
case(
    "libhccl",
    "cann-not-set-up",
    api(
        "ImportError: libhccl.so: cannot open shared object file: No such file or directory. Please check that the cann package is installed. Please run 'source set_env.sh' in the CANN installation path."
    ),
    "libhccl.so",
)
case(
    "tbe-module",
    "cann-not-set-up",
    died(
        "ModuleNotFoundError: No module named 'tbe'\nEC0010: [PID: 703] Failed to import Python module [ModuleNotFoundError: No module named 'tbe'.]."
    ),
)
case(
    "set-env-missing",
    "cann-not-set-up",
    "/opt/launch.sh: line 3: /usr/local/Ascend/nnal/atb/set_env.sh: No such file or directory\n/opt/launch.sh: line 9: exec: vllm: not found\n",
)
case(
    "hal-so", "driver", api("ImportError: libascend_hal.so: cannot open shared object file: No such file or directory")
)
case(
    "glibc",
    "binaries-mismatch",
    "/usr/local/bin/python3: /lib/aarch64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /usr/local/lib/libjemalloc.so.2)\n",
)
case(
    "undefined-atb",
    "binaries-mismatch",
    api(
        "ImportError: /vllm-workspace/vllm-ascend/vllm_ascend/vllm_ascend_C.cpython-311-aarch64-linux-gnu.so: undefined symbol: _ZN3c1021throwNullDataPtrErrorEv"
    ),
)
case(
    "import-name",
    "versions-mismatch",
    api(
        "ImportError: cannot import name 'GuidedDecodingParams' from 'vllm.sampling_params' (/vllm-workspace/vllm/vllm/sampling_params.py)"
    ),
)
case(
    "attr-nested",
    "versions-mismatch",
    died("AttributeError: 'AscendConfig' object has no attribute 'ascend_scheduler_config'"),
)
case(
    "positional",
    "versions-mismatch",
    died("TypeError: NPUModelRunner._dummy_run() takes 2 positional arguments but 3 were given"),
)
case("module-vllm-attention", "versions-mismatch", died("ModuleNotFoundError: No module named 'vllm.attention.layer'"))
case(
    "module-not-from-family",
    "module-missing",
    died("ModuleNotFoundError: No module named 'mooncake.engine'; 'mooncake' is not a package"),
)
case("torchair-missing", "module-missing", died("ModuleNotFoundError: No module named 'torchair'"))
case(
    "abstract",
    "versions-mismatch",
    died("TypeError: Can't instantiate abstract class NPUWorker without an implementation for abstract method 'sleep'"),
)
case("arch-exec", "image-architecture", "exec /usr/local/bin/docker-entrypoint.sh: exec format error\n")
case(
    "platform-warning-then-exec",
    "image-architecture",
    "WARNING: The requested image's platform (linux/amd64) does not match the detected host platform (linux/arm64/v8) and no specific platform was requested\nstandard_init_linux.go:228: exec user process caused: exec format error\n",
)
case(
    "ez3002",
    "operator-unsupported",
    died(
        "RuntimeError: EZ3002: Optype [DynamicQuantV2] of Ops kernel [AIcoreEngine] is unsupported. Reason: The operator is not registered."
    ),
)
case(
    "bf16-310p",
    "operator-unsupported",
    died(
        "RuntimeError: call aclnnMatmul failed, detail:EZ1001: Tensor self not implemented for DT_BFLOAT16, should be in dtype support list [DT_FLOAT16,DT_FLOAT]."
    ),
)
case(
    "npu-backend-op",
    "operator-unsupported",
    died("NotImplementedError: Could not run 'aten::_grouped_mm' with arguments from the 'NPU' backend."),
)
case(
    "torch-ops-missing",
    "operator-unsupported",
    died("AttributeError: '_OpNamespace' '_C_ascend' object has no attribute 'npu_lightning_indexer'"),
)
case(
    "161002",
    "operator-arguments",
    died(
        "RuntimeError: npu_grouped_matmul:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:20 NPU function error: call aclnnGroupedMatmulV5 failed, error code is 161002\nEZ1001: [PID: 703] AclNN_Parameter_Error(EZ1001): Expected a proper Tensor but got null for argument x."
    ),
)
case("561000-op", "operator-failed", died("RuntimeError: call aclnnIncreFlashAttentionV4 failed, error code is 561000"))
case(
    "dynamo",
    "graph-compile",
    died(
        "torch._dynamo.exc.Unsupported: Attempted to call function marked as skipped\n  Explanation: Dynamo does not know how to trace the builtin."
    ),
)

# -- model ------------------------------------------------------------------------------------------------------------
case(
    "arch-unknown-pydantic",
    "model-unknown",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, Model architectures ['Qwen3NextForCausalLM'] are not "
        "supported for now. Supported architectures: dict_keys(['AquilaModel']) [type=value_error, input_value=ArgsKwargs((), {}), input_type=ArgsKwargs]\n"
        "    For further information visit https://errors.pydantic.dev/2.11/v/value_error"
    ),
    "Qwen3NextForCausalLM",
)
case(
    "model-type",
    "model-unknown",
    api(
        "ValueError: The checkpoint you are trying to load has model type `glm5_moe` but Transformers does not recognize this architecture. This could be because of an issue with the checkpoint, or because your version of Transformers is out of date."
    ),
    "glm5_moe",
)
case(
    "model-type-pydantic",
    "model-unknown",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, The checkpoint you are trying to load has model type `kimi_k3` but Transformers does not recognize this architecture. [type=value_error]"
    ),
    "kimi_k3",
)
case(
    "key-model-type",
    "model-unknown",
    api(
        "KeyError: 'minimax_m2'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"x.py\", line 1, in f\n    g()\nValueError: The checkpoint you are trying to load has model type `minimax_m2` but Transformers does not recognize this architecture."
    ),
    "minimax_m2",
)
case(
    "remote-code",
    "remote-code",
    api(
        "ValueError: Loading /opt/models/M requires you to execute the configuration file in that repo on your local machine. Make sure you have read the code there to avoid malicious use, then set the option `trust_remote_code=True` to remove this error."
    ),
)
case(
    "lfs",
    "checkpoint-damaged",
    died("safetensors_rust.SafetensorError: Error while deserializing header: header too large"),
)
case(
    "lfs-new",
    "checkpoint-damaged",
    died(
        "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: InvalidHeaderDeserialization"
    ),
)
case(
    "torch-zip",
    "checkpoint-damaged",
    died("RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory"),
)
case(
    "json",
    "checkpoint-damaged",
    api("OSError: It looks like the config file at '/opt/models/M/config.json' is not a valid JSON file."),
    "/opt/models/M/config.json",
)
case("json-decoder", "json-broken", api("json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)"))
case("pickle-v", "checkpoint-damaged", died("_pickle.UnpicklingError: invalid load key, 'v'."))
case(
    "nfs-perm",
    "checkpoint-permission",
    died("PermissionError: [Errno 13] Permission denied: '/mnt/weights/M/model-00003-of-00046.safetensors'"),
    "model-00003-of-00046",
)
case(
    "rust-perm",
    "checkpoint-permission",
    died("OSError: Permission denied (os error 13): /mnt/share/M/model-00001-of-00046.safetensors"),
)
case("stale", "checkpoint-permission", died("OSError: [Errno 116] Stale file handle"))
case(
    "tokenizer-hf",
    "tokenizer-missing",
    api(
        "OSError: Can't load tokenizer for '/opt/models/M'. If you were trying to load it from 'https://huggingface.co/models', make sure you don't have a local directory with the same name. Otherwise, make sure '/opt/models/M' is the correct path to a directory containing all relevant files for a LlamaTokenizerFast tokenizer."
    ),
)
case(
    "tokenizer-convert",
    "tokenizer-missing",
    api(
        "ValueError: Couldn't instantiate the backend tokenizer from one of: \n(1) a `tokenizers` library serialization file, \n(2) a slow tokenizer instance to convert or \n(3) an equivalent slow tokenizer class to instantiate and convert."
    ),
)
case(
    "tokenizer-none",
    "tokenizer-missing",
    api("TypeError: not a string\n").replace(
        "TypeError: not a string",
        "ValueError: Tokenizer class TokenizersBackend does not exist or is not currently imported.",
    ),
)
case(
    "no-config",
    "weights-missing",
    api(
        "OSError: /opt/models/M does not appear to have a file named config.json. Checkout 'https://huggingface.co//opt/models/M/tree/main' for available files."
    ),
)
case(
    "no-path",
    "weights-missing",
    api(
        "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/opt/models/MiniMaxM25'. Use `repo_type` argument if needed."
    ),
    "/opt/models/MiniMaxM25",
)
case(
    "invalid-repo",
    "weights-missing",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, Invalid repository ID or local directory specified: '/opt/models/Q'.\nPlease verify the following requirements: [type=value_error]"
    ),
    "/opt/models/Q",
)
case(
    "shard-missing",
    "weights-missing",
    died('FileNotFoundError: No such file or directory: "/opt/models/M/model-00046-of-00046.safetensors"'),
    "model-00046",
)
case(
    "hub-offline",
    "weights-missing",
    api(
        "huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub and we cannot find the requested file in the local cache."
    ),
)
case("key-expert", "checkpoint-misfit", died("KeyError: 'layers.3.mlp.experts.w2_weight_offset'"), "w2_weight_offset")
case(
    "no-module",
    "checkpoint-misfit",
    died("ValueError: There is no module or parameter named 'lm_head.weight_scale' in MiniMaxM2ForCausalLM"),
    "lm_head.weight_scale",
)
case(
    "param-assert",
    "checkpoint-misfit",
    died("AssertionError: Attempted to load weight (torch.Size([6144, 1])) into parameter (torch.Size([3072, 1]))"),
)
case(
    "size-b",
    "checkpoint-misfit",
    died(
        "RuntimeError: The size of tensor a (1536) must match the size of tensor b (3072) at non-singleton dimension 0"
    ),
)
case(
    "start-beyond",
    "checkpoint-misfit",
    died("RuntimeError: start (1536) + length (1536) exceeds dimension size (1536)."),
)
case(
    "quant-fp8",
    "quantization",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig\n  Value error, fp8 quantization is currently not supported in npu. [type=value_error]"
    ),
)
case(
    "quant-desc",
    "quantization",
    died(
        "ValueError: Could not find quant_model_description.json in /opt/models/M. To use the ascend quantization this file is required."
    ),
)
case(
    "quant-mismatch",
    "quantization",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, Quantization method specified in the model config (compressed-tensors) does not match the quantization method specified in the `quantization` argument (ascend). [type=value_error]"
    ),
)
case(
    "length",
    "model-length",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, User-specified max_model_len (262144) is greater than the derived max_model_len (max_position_embeddings=131072.0 or model_max_length=None in model's config.json). To allow overriding this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 [type=value_error]"
    ),
    "131072",
)
case(
    "slow",
    "slow-weights",
    BEFORE + "(APIServer pid=1) TimeoutError: Timed out waiting for engines to send initial message on input socket.\n",
)
case(
    "slow-core",
    "slow-weights",
    BEFORE
    + "(APIServer pid=1) TimeoutError: Timed out waiting for engine core processes to start. This is often caused by slow weight loading for large models. Waited 600s (configured by VLLM_ENGINE_READY_TIMEOUT_S).\n",
)

# -- arguments --------------------------------------------------------------------------------------------------------
USAGE = "usage: vllm serve [model_tag] [options]\n"
case(
    "unknown",
    "unknown-argument",
    BEFORE + USAGE + "vllm serve: error: unrecognized arguments: --max-model-length 8192\n",
    "--max-model-length",
)
case(
    "ambiguous",
    "unknown-argument",
    USAGE + "vllm serve: error: ambiguous option: --max-num could match --max-num-seqs, --max-num-batched-tokens\n",
)
case(
    "choice",
    "bad-argument",
    USAGE
    + "vllm serve: error: argument --kv-cache-dtype: invalid choice: 'int4' (choose from 'auto', 'fp8', 'bfloat16')\n",
    "--kv-cache-dtype",
)
case(
    "json-arg",
    "bad-argument",
    USAGE
    + "vllm serve: error: argument --compilation-config/-O/-cc: Value {cudagraph_mode:FULL cannot be converted to <function loads at 0x1>.\n",
)
case(
    "api-server-module",
    "bad-argument",
    "usage: api_server.py [-h]\napi_server.py: error: argument --port: invalid int value: '80o0'\n",
)
case(
    "tool-parser",
    "parser-unknown",
    api('KeyError: "invalid tool call parser: minimax_m3 (chose from { deepseek_v3,hermes,minimax_m2 })"'),
    "minimax_m3",
)
case(
    "reasoning-parser",
    "parser-unknown",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for StructuredOutputsConfig\n  Value error, invalid reasoning parser: m2think (chose from { deepseek_r1,minimax_m2 }) [type=value_error]"
    ),
    "m2think",
)
case(
    "tool-parser-new",
    "parser-unknown",
    api("KeyError: \"Tool parser 'mm2' not found. Available tool parsers: hermes, minimax_m2\""),
    "mm2",
)
case(
    "world",
    "device-count",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ParallelConfig\n  Value error, World size (16) is larger than the number of available NPUs (8) in this node. [type=value_error]"
    ),
    "16 of 8",
)
case("dp-local", "device-count", died("AssertionError: local_rank 8 is out of range for 8 visible devices"))
case(
    "template",
    "named-file-missing",
    api(
        "ValueError: The supplied chat template (/opt/templates/m2.jinja) looks like a file path, but it failed to be opened. Reason: [Errno 2] No such file or directory: '/opt/templates/m2.jinja'"
    ),
    "/opt/templates/m2.jinja",
)
case(
    "plugin",
    "named-file-missing",
    BEFORE
    + "(APIServer pid=1) ERROR 11-26 03:10:10 [tool_parser_manager.py:140] Failed to load module 'm2_tools' from /opt/plugins/m2_tools.py.\n(APIServer pid=1) FileNotFoundError: [Errno 2] No such file or directory: '/opt/plugins/m2_tools.py'\n",
    "/opt/plugins/m2_tools.py",
)
case(
    "divisible",
    "bad-value",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig\n  Value error, Total number of attention heads (48) must be divisible by tensor parallel size (7). [type=value_error]"
    ),
)
case(
    "enum",
    "bad-value",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for CacheConfig\nblock_size\n  Input should be 1, 8, 16, 32, 64 or 128 [type=literal_error, input_value=100, input_type=int]"
    ),
)
case(
    "gmu",
    "bad-value",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for CacheConfig\ngpu_memory_utilization\n  Input should be less than or equal to 1 [type=less_than_equal, input_value=1.2, input_type=float]"
    ),
)
case(
    "batched",
    "bad-value",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig\n  Value error, max_num_batched_tokens (2048) is smaller than max_model_len (131072). This effectively limits the maximum sequence length to max_num_batched_tokens. [type=value_error]"
    ),
)
case("env-int", "environment-value", api("ValueError: invalid literal for int() with base 10: '600s'"))
case(
    "env-choice",
    "environment-value",
    api("ValueError: Invalid value 'fast' for VLLM_LOGGING_LEVEL. Valid options: ['DEBUG', 'INFO']."),
)
case("cert", "certificate", api("ssl.SSLError: [SSL: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:4067)"))
case("cert-pem", "certificate", api("ssl.SSLError: [SSL] PEM lib (_ssl.c:4067)"))
case(
    "cert-missing",
    "certificate",
    api(
        "  File \"/usr/lib/python3.11/site-packages/uvicorn/config.py\", line 115, in create_ssl_context\n    ctx.load_cert_chain(certfile, keyfile, get_password)\nFileNotFoundError: [Errno 2] No such file or directory: '/etc/ascend-vllm/tls/server.crt'"
    ),
    "server.crt",
)
case(
    "cert-perm",
    "certificate",
    api("PermissionError: [Errno 13] Permission denied: '/etc/ascend-vllm/tls/server.key'"),
    "server.key",
)

# -- memory and disk --------------------------------------------------------------------------------------------------
case(
    "oom-plain",
    "npu-out-of-memory",
    died(
        "RuntimeError: NPU out of memory. Tried to allocate 1.96 GiB (NPU 3; 29.50 GiB total capacity; 27.10 GiB already allocated; 27.10 GiB current active; 1.10 GiB free; 27.90 GiB reserved in total by PyTorch) If reserved memory is >> allocated memory try setting max_split_size_mb to avoid fragmentation."
    ),
    "1.96 GiB more on NPU 3",
)
case(
    "oom-hccl-el0004",
    "npu-out-of-memory",
    died(
        "RuntimeError: createHCCLComm HCCL function error: hcclCommInitRootInfoConfig(numRanks, &rootInfo, rank, config, &(comm->hcclComm_)), error code is 2\n[Error]: EL0004: [PID: 703] 2026-11-26-03:12:31.123.456 Failed to allocate memory. Possible Cause: Available memory is insufficient."
    ),
)
case(
    "oom-exc-group",
    "npu-out-of-memory",
    BEFORE
    + '(APIServer pid=1)   + Exception Group Traceback (most recent call last):\n(APIServer pid=1)   |   File "x.py", line 1, in f\n(APIServer pid=1)   | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)\n(APIServer pid=1)   +-+---------------- 1 ----------------\n(APIServer pid=1)     | Traceback (most recent call last):\n(APIServer pid=1)     |   File "y.py", line 2, in g\n(APIServer pid=1)     |     h()\n(APIServer pid=1)     | torch.OutOfMemoryError: NPU out of memory. Tried to allocate 20.00 GiB\n(APIServer pid=1)     +------------------------------------\n',
)
case(
    "group-unknown",
    "error",
    BEFORE
    + '(APIServer pid=1)   + Exception Group Traceback (most recent call last):\n(APIServer pid=1)   |   File "x.py", line 1, in f\n(APIServer pid=1)   | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)\n(APIServer pid=1)   +-+---------------- 1 ----------------\n(APIServer pid=1)     | Traceback (most recent call last):\n(APIServer pid=1)     |   File "y.py", line 2, in g\n(APIServer pid=1)     |     raise ValueError(x)\n(APIServer pid=1)     | ValueError: draft model and target disagree\n(APIServer pid=1)     +------------------------------------\n',
)
case(
    "kv",
    "kv-cache",
    died(
        "ValueError: To serve at least one request with the models's max seq len (196608), (24.00 GiB KV cache is needed, which is larger than the available KV cache memory (9.83 GiB). Based on the available memory, the estimated maximum model length is 80512. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
    ),
    "80512",
)
case(
    "kv-none",
    "kv-cache",
    died(
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine."
    ),
)

case(
    "free-startup",
    "hbm-taken",
    died(
        "ValueError: Free memory on device npu:3 (12.1/60.97 GiB) on startup is less than desired GPU memory utilization (0.92, 56.09 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
    ),
    "0.19",
)
case(
    "profile-assert",
    "hbm-taken",
    died(
        "AssertionError: Error in memory profiling. Initial free memory 30.1 GiB, current free memory 41.5 GiB. This happens when other processes sharing the same container release GPU memory while vLLM is profiling during initialization."
    ),
)
case(
    "host-mmap",
    "host-out-of-memory",
    died(
        "RuntimeError: [enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 21474836480 bytes. Error code 12 (Cannot allocate memory)"
    ),
)
case(
    "host-oomkill-journal",
    "host-out-of-memory",
    "Nov 26 03:12:31 node1 kernel: oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=docker-ab.scope,task=VLLM::Worker_TP,pid=703,uid=0\nNov 26 03:12:31 node1 kernel: Memory cgroup out of memory: Killed process 703 (VLLM::Worker_TP) total-vm:1kB\n",
)
case(
    "killed-bare",
    "killed",
    BEFORE + "/opt/launch.sh: line 22:     7 Killed                  exec vllm serve /opt/models/M\n",
)
case(
    "worker-sigkill",
    "killed",
    BEFORE
    + "(EngineCore_DP0 pid=600) ERROR 11-26 03:12:40 [multiproc_executor.py:230] Worker proc VllmWorker-3 died unexpectedly, shutting down executor.\n(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore_DP0': -9}\n",
)
case(
    "shm",
    "shared-memory",
    died("RuntimeError: unable to write to file </torch_700_3021_0>: No space left on device (28)"),
)
case(
    "dataloader-bus",
    "shared-memory",
    died(
        "RuntimeError: DataLoader worker (pid 812) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory. Please try to raise your shared memory limit."
    ),
)
case(
    "bus-alone",
    "bus-error",
    BEFORE
    + "(Worker_TP3 pid=703) Fatal Python error: Bus error\n(Worker_TP3 pid=703) \n(Worker_TP3 pid=703) Thread 0x0000 (most recent call first):\n",
)
case(
    "disk",
    "disk-full",
    died("OSError: [Errno 28] No space left on device: '/root/.cache/vllm/torch_compile_cache/6f/rank_3_0'"),
    "/root/.cache/vllm",
)
case("disk-plain-write", "disk-full", BEFORE + "tee: /var/log/vllm/serve.log: No space left on device\n")
case(
    "cache-ro",
    "cache-folder",
    died("OSError: [Errno 30] Read-only file system: '/root/.cache/modelscope'"),
    "/root/.cache/modelscope",
)
case(
    "kernel-meta",
    "cache-folder",
    died("PermissionError: [Errno 13] Permission denied: '/workspace/kernel_meta'"),
    "/workspace/kernel_meta",
)
case("triton-cache", "cache-folder", died("PermissionError: [Errno 13] Permission denied: '/home/vllm/.triton/cache'"))
case(
    "nofile-uv",
    "file-descriptors",
    BEFORE + "(APIServer pid=1) OSError: [Errno 24] Too many open files: '/proc/sys/kernel/osrelease'\n",
)
case("nofile-zmq", "file-descriptors", died("zmq.error.ZMQError: Too many open files"))
case(
    "threads-openblas",
    "threads",
    "OpenBLAS blas_thread_init: pthread_create failed for thread 63 of 64: Operation not permitted\nOpenBLAS blas_thread_init: ensure that your address space and process count limits are big enough (ulimit -a)\n",
)
case(
    "fork-bash",
    "threads",
    "/opt/launch.sh: fork: retry: Resource temporarily unavailable\n/opt/launch.sh: fork: Resource temporarily unavailable\n",
)

# -- network and collectives ------------------------------------------------------------------------------------------
case(
    "port-uvicorn",
    "port-in-use",
    BEFORE
    + "(APIServer pid=1) ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use\n",
    ":8000",
)
case(
    "port-zmq",
    "port-in-use",
    died("zmq.error.ZMQError: Address already in use (addr='tcp://192.0.2.11:13389')"),
    ":13389",
)
case(
    "port-c10d",
    "port-in-use",
    died(
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use"
    ),
    ":29500",
)
case(
    "port-ej0003",
    "port-in-use",
    died(
        "RuntimeError: HCCL function error: hcclCommInitRootInfoConfig(numRanks, &rootInfo, rank, config, &(comm->hcclComm_)), error code is 7\nEJ0003: [PID: 703] 2026-11-26-03:12:31.100.200 Failed to bind the IP port. Reason: The IP address and port have been bound already."
    ),
)
case(
    "port-docker",
    "port-in-use",
    "docker: Error response from daemon: driver failed programming external connectivity on endpoint vllm (3f): Error starting userland proxy: listen tcp4 0.0.0.0:8000: bind: address already in use.\n",
    ":8000",
)
case(
    "addr-zmq",
    "address-not-here",
    died("zmq.error.ZMQError: Cannot assign requested address (addr='tcp://192.0.2.99:13389')"),
    "192.0.2.99",
)
case(
    "addr-uvicorn",
    "address-not-here",
    BEFORE
    + "(APIServer pid=1) ERROR:    [Errno 99] error while attempting to bind on address ('192.0.2.99', 8000): cannot assign requested address\n",
    "192.0.2.99",
)
case(
    "name-c10d",
    "name-not-resolved",
    died(
        "[W1126 03:12:31.1 socket.cpp:464] [c10d] The hostname of the client socket cannot be retrieved. err=-3\ntorch.distributed.DistNetworkError: The client socket has failed to resolve the address of node-a: Name or service not known"
    ),
)
case("name-gai", "name-not-resolved", died("socket.gaierror: [Errno -3] Temporary failure in name resolution"))
case(
    "if-gloo",
    "interface",
    died(
        "RuntimeError: [enforce fail at /pytorch/third_party/gloo/gloo/transport/tcp/device.cc:208] ifa != nullptr. Unable to find interface for: [192.0.2.11]\n"
    ),
)
case(
    "if-hccl",
    "interface",
    died(
        "RuntimeError: HCCL function error: HcclGetRootInfo(&hcclID), error code is 4\n[ERROR] HCCL(703,python3):2026-11-26-03:12:31.100.200 [config.cc:400][703][Get][HostIp]find host ip by HCCL_SOCKET_IFNAME[=eth7] failed, no interface matches."
    ),
)
case("route", "primary-unreachable", died("OSError: [Errno 113] No route to host"))
case(
    "c10d-refused",
    "primary-unreachable",
    died(
        "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to (192.0.2.11, 12345)."
    ),
    "192.0.2.11",
)
case(
    "front-end",
    "peer-missing",
    BEFORE
    + "(EngineCore_DP8 pid=600) RuntimeError: Did not receive response from front-end process within 5 minutes\n",
)
case(
    "gloo-connect",
    "peer-missing",
    died(
        "RuntimeError: Gloo connectFullMesh failed with [../third_party/gloo/gloo/transport/tcp/pair.cc:144] no error"
    ),
)
case(
    "store-wait",
    "peer-missing",
    died("torch.distributed.DistStoreError: wait timeout after 300000ms, keys: /default_pg/0//cpu//0/2"),
)
case(
    "ei0006",
    "hccl-timeout",
    died(
        "RuntimeError: InnerRunOpApi:torch_npu/csrc/framework/OpParamMaker.cpp:281 OPS function error: HcclAllgather, error code is 6\n[ERROR] 2026-11-26-03:12:31 (PID:703, Device:3, RankID:-1) ERR01100 OPS call acl api failed.\nEI0006: [PID: 703] 2026-11-26-03:12:31.135.732 Getting socket times out. Reason: Remote Rank did not send the data in time. Please check the reason for the rank being stuck\n        Solution: 1. Check the rank service processes with other errors or no errors in the cluster."
    ),
)
case(
    "topo-detect",
    "hccl-timeout",
    BEFORE
    + "[ERROR] HCCL(703,python3):2026-11-26-03:12:31.135.732 [topoinfo_exchange_agent.cc:228][703][Init][RankConnect] topo exchange agent get server connection timeout, server ip[192.0.2.11]\n[ERROR] HCCL(703,python3):2026-11-26-03:12:31.135.732 [topoinfo_detect.cc:372][703][InitGroup][RANKTABLE_DETECT] rank num[16] is different with rank list size[8] in total topo rank info\n"
    + AFTER,
)
case(
    "ei0002",
    "peer-failed",
    died(
        "RuntimeError: EI0002: [PID: 703] 2026-11-26-03:12:31 The wait execution of the Notify register times out. Reason: The Notify register has not received the Notify record from remote rank [5]."
    ),
)
case("507057", "remote-chip-failed", died("RuntimeError: SUSPECT REMOTE ERROR. error code is 507057"))
case(
    "roce-down",
    "link-down",
    died("RuntimeError: EJ0002: [PID: 703] The network port is down. Suggestion: check the network port of device 3."),
)
case(
    "tls",
    "tls-different",
    BEFORE
    + "[ERROR] HCCL(703,python3):2026-11-26-03:12:31.135.732 [hccl_socket_manager.cc:778] TLS config of local[enable] is inconsistent with remote[disable]\n"
    + AFTER,
)
case(
    "ranktable",
    "rank-table",
    died(
        "RuntimeError: EI0004: [PID: 703] The ranktable is invalid,Reason:[The ranktable config devId is inconsistent with the local devId.]. Please check the configured ranktable."
    ),
)
case(
    "ei0001",
    "hccl-environment",
    died(
        "RuntimeError: EI0001: [PID: 703] Value 10 for environment variable HCCL_BUFFSIZE_X is invalid. Expected value: 1 to 2147483647."
    ),
    "HCCL_BUFFSIZE_X is 10",
)
case(
    "buffsize",
    "hccl-buffsize",
    died(
        "RuntimeError: npu_moe_distribute_dispatch_v2 NPU function error: call aclnnMoeDistributeDispatchV4 failed, error code is 561002\nEZ9999[PID: 703]: HCCL_BUFFSIZE is too SMALL, maxBs = 512, h = 3072, epWorldSize = 16, localMoeExpertNum = 16, NEEDED_HCCL_BUFFSIZE(((maxBs * tokenNeedSizeDispatch * ep_worldsize * localMoeExpertNum) + (maxBs * tokenNeedSizeCombine * (k + sharedExpertNum))) * 2) = 1686MB, HCCL_BUFFSIZE=1024MB."
    ),
    "1686",
)
case(
    "code5",
    "collectives-unsupported",
    died(
        "RuntimeError: create_config:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:148 HCCL function error: hcclCommInitRootInfoConfig(numRanks, &rootInfo, rank, config, &(comm->hcclComm_)), error code is 5"
    ),
)
case(
    "reduce-double",
    "collectives-unsupported",
    died(
        "RuntimeError: HCCL reduce: Unsupported data type at::kDouble\n[ERROR] 2026-11-26-03:12:31 (PID:703, Device:3, RankID:3) ERR02007 DIST feature not supported"
    ),
)
case(
    "mooncake-glog",
    "kv-transfer-connect",
    BEFORE
    + "E1126 03:24:54.778028 254830 ascend_direct_transport.cpp:820] Failed to connect to target: 192.0.2.16:25389, status: 103900\nE1126 03:24:54.778062 254830 ascend_direct_transport.cpp:581] Failed to connect to segment: 192.0.2.16:16381\n(Worker_DP0_TP5 pid=705) ERROR 11-26 03:24:54 [mooncake_connector.py:410] Mooncake transfer failed for request cmpl-09be-0\n(Worker_DP0_TP5 pid=705) ERROR 11-26 03:24:54 [mooncake_connector.py:329] RuntimeError: Mooncake transfer failed, ret: -1\n",
    "192.0.2.16",
)
case(
    "mooncake-timeout",
    "kv-transfer-connect",
    BEFORE
    + "E20261126 14:45:44.404089 342420 ascend_direct_transport.cpp:1107] Connect timeout to: 192.0.2.20:20033, you can increase the timeout duration to reduce the ASCEND_CONNECT_TIMEOUT environment variable.\nE20261126 14:45:44.404292 342420 ascend_direct_transport.cpp:836] Transfer slice failed with status: 103902\n(Worker_DP0_EP0 pid=705) ERROR 11-26 14:45:44 [mooncake_hybrid_connector.py:551] Mooncake transfer failed for request chatcmpl-27\n",
)
case(
    "mooncake-master",
    "kv-transfer-start",
    died("RuntimeError: Mooncake store setup failed with code -1: Failed to connect to master 192.0.2.11:50051"),
)
case(
    "ei0010",
    "chips-not-connected",
    died(
        "RuntimeError: EI0010: [PID: 703] P2P communication failed. Reason: The link between device 0 and device 5 is PCIe."
    ),
)
case(
    "version",
    "cann-versions-differ",
    died(
        "RuntimeError: EI0008: [PID: 703] The HCCL versions are inconsistent: The local version is 8.5.0, while the remote version is 8.3.RC1."
    ),
)
case(
    "lldp",
    "lldp",
    BEFORE
    + "[ERROR] HCCP(703,python3):2026-11-26-03:12:31.135.732 [rs_lldp.c:33] get lldp neighbor failed, no neighbor of device 3\n"
    + AFTER,
)

# -- deaths -----------------------------------------------------------------------------------------------------------
case(
    "segv-faulthandler",
    "native-crash",
    BEFORE
    + '!!!!!!! Segfault encountered !!!!!!!\n  File "<unknown>", line 0, in aclrtSetDevice\n/opt/launch.sh: line 22:     7 Segmentation fault      (core dumped) vllm serve\n',
)
case(
    "jemalloc",
    "native-crash",
    "<jemalloc>: Unsupported system page size\n<jemalloc>: Unsupported system page size\nterminate called without an active exception\n",
)
case(
    "abort",
    "native-crash",
    BEFORE
    + "terminate called after throwing an instance of 'c10::Error'\n  what():  unexpected\n/opt/launch.sh: line 22:     7 Aborted                 (core dumped) vllm serve\n",
)
case(
    "runc-hook",
    "engine-refused",
    "docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error running prestart hook #0: exit status 1, stdout: , stderr: [ascend-docker-hook] failed to read mount config\n",
)
case(
    "runc-exec",
    "command-not-found",
    'docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "vllm": executable file not found in $PATH: unknown.\n',
    "vllm",
)
case(
    "runc-perm",
    "not-executable",
    'Error response from daemon: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/opt/launch.sh": permission denied: unknown\n',
    "/opt/launch.sh",
)
case(
    "k8s-prefix",
    "npu-out-of-memory",
    "\n".join(
        f"2026-11-26T03:12:{n % 60:02d}.123456789+08:00 stderr F {line}"
        for n, line in enumerate(died("RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB").splitlines())
    )
    + "\n",
)

case(
    "journal-prefix-unknown",
    "error",
    "\n".join(
        f"Nov 26 03:12:31 node1 docker[991]: {line}"
        for line in died("custom.StrangeError: rotary of the draft differs").splitlines()
    )
    + "\n",
    "first that was raised",
)
case(
    "compose-prefix-unknown",
    "error",
    "\n".join(f"vllm-1  | {line}" for line in api("ValueError: rotary of the draft differs").splitlines()) + "\n",
)
case(
    "ansi",
    "checkpoint-misfit",
    "\n".join(
        f"\x1b[1;36m(Worker_TP3 pid=703)\x1b[0;0m \x1b[31mERROR\x1b[0m 11-26 03:12:31 [multiproc_executor.py:822] {line}"
        for line in [
            "Traceback (most recent call last):",
            '  File "x", line 2, in f',
            "    y()",
            "KeyError: 'model.layers.0.mlp.gate_up_proj.weight_scale'",
        ]
    )
    + "\n"
    + AFTER,
)
case(
    "chinese",
    "driver",
    "错误: 容器内无法访问 NPU，npu-smi 返回如下：\ndcmi module initialize failed. ret is -8005\n退出\n",
)
case(
    "old-vllm-format",
    "npu-out-of-memory",
    "INFO 05-19 02:31:40 config.py:717] This model supports multiple tasks\n(VllmWorkerProcess pid=9) ERROR 05-19 02:31:42 multiproc_worker_utils.py:239] Exception in worker VllmWorkerProcess while processing method load_model.\n(VllmWorkerProcess pid=9) ERROR 05-19 02:31:42 multiproc_worker_utils.py:239] RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB\nERROR 05-19 02:31:43 engine.py:400] RuntimeError: Engine process failed to start. See stack trace for the root cause.\n",
)
case(
    "old-vllm-unknown",
    "error",
    "(VllmWorkerProcess pid=9) ERROR 05-19 02:31:42 engine.py:400] OverflowError: cannot convert float infinity to integer\nRuntimeError: Engine process failed to start. See stack trace for the root cause.\n",
)
case(
    "ray-actor",
    "npu-out-of-memory",
    BEFORE
    + "(RayWorkerWrapper pid=2417, ip=192.0.2.12) ERROR 11-26 03:12:31 [worker_base.py:620] RuntimeError: NPU out of memory. Tried to allocate 3.00 GiB\n(EngineCore_DP0 pid=600) ERROR 11-26 03:12:33 [core.py:790] ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n",
)
case(
    "ray-task",
    "error",
    BEFORE
    + 'ray.exceptions.RayTaskError(OverflowError): ray::RayWorkerWrapper.execute_method() (pid=2417, ip=192.0.2.12, actor_id=ab)\n  File "/vllm/worker.py", line 3, in f\n    return g()\nOverflowError: int too big to convert\n',
    "first that was raised",
)
case("key-attn", "error", died("KeyError: 'model.layers.61.self_attn.attn'"))

# -- more shapes: other wordings, other writers, causes below what they cause ----------------------------------------------
case(
    "acl-text-only",
    "kernel-crash",
    died(
        "RuntimeError: The Inner error is reported as above. The process exits for this inner error, and the current working operator name is RopeOperation.\n[ERROR] 2026-11-26-03:12:31 (PID:703, Device:3, RankID:-1) ERR00100 PTA call acl api failed\n[Error]: The vector core execution is abnormal.\nEZ9999: Inner Error!\nEZ9999: [PID: 703] 2026-11-26-03:12:31.1.2 (EZ9999): rtStreamSynchronize execute failed, reason=[vector core exception]"
    ),
)
case(
    "inner-error-alone",
    "cann-call",
    died(
        "RuntimeError: The Inner error is reported as above. The process exits for this inner error, and the current working operator name is HcclAllreduce."
    ),
)
case(
    "inner-error-el0004",
    "npu-out-of-memory",
    died(
        "RuntimeError: The Inner error is reported as above. The process exits for this inner error, and the current working operator name is aclnnCat.\nEL0004: [PID: 703] Failed to allocate memory."
    ),
)
case("soc-104", "no-kernels-for-chip", died("RuntimeError: Can not support soc_version: 104."))
case("jit-default", "cann-start", died("RuntimeError: Get ACL JitCompile default value failed"))
case("cuda-enabled", "versions-mismatch", died("AssertionError: Torch not compiled with CUDA enabled"))
case(
    "infer-schema",
    "versions-mismatch",
    died(
        "ValueError: infer_schema(func): Parameter block_size has unsupported type list[int]. The valid types are: dict_keys([<class 'torch.Tensor'>])."
    ),
)
case(
    "quant-key-weight",
    "checkpoint-misfit",
    died("KeyError: 'visual.blocks.0.attn.qkv.weight'"),
    "visual.blocks.0.attn.qkv.weight",
)
case(
    "ray-repeated",
    "checkpoint-misfit",
    BEFORE
    + "(RayWorkerWrapper pid=1949) ERROR 11-26 03:12:36 [worker_base.py:620]     param = params_dict[name] [repeated 14x across cluster]\n(RayWorkerWrapper pid=1949) ERROR 11-26 03:12:36 [worker_base.py:620] KeyError: 'model.layers.23.mlp.experts.w2_weight_offset' [repeated 14x across cluster]\n",
    "w2_weight_offset",
)
case(
    "bracketed-time",
    "error",
    "(Worker_TP1 pid=701) [2026-11-26 03:12:30] INFO modelslim_config.py:296: Using the vLLM Ascend modelslim Quantization now!\n(Worker_TP1 pid=701) [2026-11-26 03:12:31] ERROR worker.py:296: OverflowError: the draft is too deep\n",
)
case(
    "configuration-py",
    "weights-missing",
    api(
        "OSError: /opt/models/M does not appear to have a file named configuration_deepseek.py. Checkout 'https://huggingface.co//opt/models/M/tree/main' for available files."
    ),
)
case(
    "llmdatadist-link",
    "kv-transfer-connect",
    BEFORE
    + "(Worker_DP0_TP4_EP4 pid=704) llm_datadist.status.LLMException: [link] failed, error code is LLMStatusCode.LLM_LINK_FAILED, {5: 0, 21: 1}.\n",
)
case(
    "llmdatadist-init",
    "kv-transfer-start",
    died(
        "llm_datadist.status.LLMException: [LLMDataDist.init] failed, error code is LLMStatusCode.LLM_FAILED, Failed to initialize llm datadist, options = {'llm.Role': 'Prompt'}."
    ),
)
case(
    "nic-listen-port",
    "port-in-use",
    died(
        "RuntimeError: createHCCLComm HCCL function error: HcclGetRootInfo(&hcclID), error code is 11\n[ERROR] 2026-11-26-03:12:31 (PID:703, Device:0, RankID:-1) ERR02200 DIST call hccl api failed.\nEJ0003: [PID: 703] 2026-11-26-03:12:31 Failed to bind the IP port. Reason: The IP address and port have been bound already.\n        TraceBack (most recent call last):\n        host nic listen start failed, port[60000], return[11]"
    ),
    ":60000",
)
case(
    "hccl-code-15-ee9999",
    "cann-runtime",
    died(
        "RuntimeError: create_config HCCL function error: hcclCommInitRootInfoConfig(numRanks, &rootInfo, rank, config, &(comm->hcclComm_)), error code is 15\nEE9999: Inner Error!\nEE9999: [PID: 703] get error: phyid:0 realDeviceId:0 is err:0x7010003"
    ),
)
case(
    "hccl-code-7-alone",
    "hccl-call",
    died(
        "RuntimeError: create_config HCCL function error: hcclCommInitRootInfoConfig(numRanks, &rootInfo, rank, config, &(comm->hcclComm_)), error code is 7"
    ),
)
case(
    "ei0001-other-form",
    "hccl-environment",
    died(
        "RuntimeError: EI0001: [PID: 703] Environment variable [HCCL_SOCKET_IFNAME] is invalid. Reason: it should be a name of an interface."
    ),
    "HCCL_SOCKET_IFNAME",
)
case(
    "ei0002-rank",
    "peer-failed",
    died(
        "RuntimeError: EI0002: [PID: 703] The wait execution of the Notify register times out. Reason: The Notify register has not received the Notify record from remote rank: [5]. base information: [x]."
    ),
    "rank 5",
)
case(
    "ei0015",
    "hccl-timeout",
    died(
        "RuntimeError: HcclCommInitRootInfoConfig failed\nEI0015: [PID: 703] Failed to collect cluster information of the communicator based on rootInfo detection. Reason: topo detect timeout."
    ),
)
case(
    "ei0019",
    "port-in-use",
    died(
        "RuntimeError: HCCL function error: HcclGetRootInfo(&hcclID), error code is 7\nEI0019: [PID: 703] Failed to enable listening for the host network adapter socket. Reason: The IP address 192.0.2.11 and port 60001 have been bound already."
    ),
)
case(
    "ei0012",
    "peer-failed",
    died("RuntimeError: EI0012: [PID: 703] SDMA memory copy task exception occurred. Remote rank: [5]."),
)
case(
    "ei0014",
    "rank-table",
    died("RuntimeError: EI0014: [PID: 703] Value 9 for ranktable variable device_id is invalid. Expected value: 0-7."),
)
case(
    "pread-gloo-refused",
    "connection-lost",
    died(
        "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:850] connect [127.0.1.1]:22113: Connection refused"
    ),
)
case(
    "gloo-timeout",
    "peer-missing",
    died(
        "RuntimeError: Gloo connectFullMesh failed with [../third_party/gloo/gloo/transport/tcp/pair.cc:144] timed out connecting: Connection timed out, remote=[192.0.2.12]:31005"
    ),
)
case(
    "gloo-wait-timeout",
    "connection-lost",
    BEFORE
    + raised(
        "RuntimeError: [../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation to complete"
    )
    + AFTER,
)
case(
    "store-closed",
    "connection-lost",
    BEFORE + raised("torch.distributed.DistNetworkError: failed to recv, got 0 bytes") + AFTER,
)
case(
    "dp-address-other",
    "address-not-here",
    BEFORE
    + "(EngineCore_DP0 pid=600) torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. The server socket has failed to bind to 192.0.2.99:13345 (errno: 99 - Cannot assign requested address).\n",
    "192.0.2.99",
)
case("port-name-none", "port-in-use", BEFORE + "OSError: [Errno 98] Address already in use\n")
case(
    "rpc-timeout",
    "connection-lost",
    BEFORE
    + "(EngineCore_DP0 pid=600) ERROR 11-26 04:00:00 [core.py:790] TimeoutError: RPC call to execute_model timed out.\n",
)
case(
    "shm-broadcast-worker-oom",
    "npu-out-of-memory",
    BEFORE
    + "(EngineCore_DP0 pid=600) ERROR 11-26 04:00:00 [dump_input.py:69] Dumping input data for V1 LLM engine (v0.20.2) with config: model='/opt/models/M', quantization=None\n(Worker_TP3 pid=703) ERROR 11-26 04:00:01 [multiproc_executor.py:822] RuntimeError: NPU out of memory. Tried to allocate 1.00 GiB\n(EngineCore_DP0 pid=600) ERROR 11-26 04:00:02 [core.py:790] TimeoutError: RPC call to sample_tokens timed out.\n",
)
case(
    "cgroup-oom-python",
    "host-out-of-memory",
    died("OSError: [Errno 12] Cannot allocate memory: '/opt/models/M/model-00001-of-00046.safetensors'"),
)
case(
    "pin-memory",
    "host-out-of-memory",
    died(
        "RuntimeError: NPU function error: aclrtMallocHost, error code is 207001\n[Error]: Failed to apply for memory.\nEL0003: [PID: 703] Insufficient_Host_Memory"
    ),
)
case(
    "exit-137-compose",
    "killed",
    "vllm-1  | INFO 11-26 03:10:01 [__init__.py:207] Platform plugin ascend is activated\nvllm-1 exited with code 137\n",
)
case(
    "bash-illegal", "native-crash", "/opt/launch.sh: line 22:     7 Illegal instruction     (core dumped) vllm serve\n"
)
case(
    "engine-core-signal-11",
    "native-crash",
    BEFORE
    + "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': -11}\n",
)
case(
    "worker-vanished",
    "process-vanished",
    BEFORE
    + "(EngineCore_DP0 pid=600) ERROR 11-26 04:00:00 [multiproc_executor.py:230] Worker proc VllmWorker-3 died unexpectedly, shutting down executor.\n(APIServer pid=1) ERROR 11-26 04:00:01 [async_llm.py:600] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.\n",
)
case(
    "rpc-cancelled",
    "process-vanished",
    BEFORE
    + "(EngineCore_DP0 pid=600) ERROR 11-26 04:00:00 [multiproc_executor.py:230] Worker proc VllmWorker-3 died unexpectedly, shutting down executor.\n(EngineCore_DP0 pid=600) concurrent.futures._base.CancelledError\n(APIServer pid=1) asyncio.exceptions.CancelledError\n",
)
case(
    "device-busy-mount",
    "engine-refused",
    'docker: Error response from daemon: failed to create task for container: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error mounting "/usr/local/Ascend/driver" to rootfs at "/usr/local/Ascend/driver": not a directory: unknown\n',
)
case("shm-of-host", "disk-full", died("OSError: [Errno 28] No space left on device"))
case(
    "torch-save-inductor",
    "disk-full",
    died(
        "torch._inductor.exc.InductorError: OSError: [Errno 28] No space left on device: '/tmp/torchinductor_root/ab'"
    ),
    "/tmp/torchinductor_root/ab",
)
case(
    "yaml-config",
    "named-file-missing",
    USAGE + "FileNotFoundError: [Errno 2] No such file or directory: '/opt/serve.yml'\n",
    "/opt/serve.yml",
)
case(
    "tool-server",
    "bad-argument",
    "usage: vllm serve [model_tag] [options]\nvllm serve: error: argument --tool-call-parser: expected one argument\n",
    "--tool-call-parser",
)
case("enable-auto-tool", "bad-argument", api("TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser"))
case(
    "typed-json",
    "bad-value",
    api(
        "pydantic_core._pydantic_core.ValidationError: 2 validation errors for CompilationConfig\ncudagraph_mode\n  Input should be an instance of CUDAGraphMode [type=is_instance_of, input_value='FUL', input_type=str]\nfoo\n  Unexpected keyword argument [type=unexpected_keyword_argument, input_value=1, input_type=int]"
    ),
)
case(
    "unexpected-keyword",
    "bad-value",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for SpeculativeConfig\nnum_spec_tokens\n  Unexpected keyword argument [type=unexpected_keyword_argument, input_value=3, input_type=int]"
    ),
    "num_spec_tokens",
)
case(
    "block-size-ascend",
    "bad-value",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig\n  Value error, block_size must be a multiple of 128 [type=value_error]"
    ),
)
case(
    "served-both",
    "bad-argument",
    "usage: vllm serve [model_tag] [options]\nvllm serve: error: argument --headless: ignored explicit argument 'true'\n",
    "--headless",
)
case(
    "cert-chain",
    "certificate",
    BEFORE + "(APIServer pid=1) ssl.SSLError: [X509: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:4100)\n",
)
case(
    "root-squash",
    "checkpoint-permission",
    died("PermissionError: [Errno 13] Permission denied: '/opt/models/M/model.safetensors.index.json'"),
    "model.safetensors.index.json",
)
case(
    "truncated-shard",
    "checkpoint-damaged",
    died("safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer"),
)
case(
    "truncated-mmap",
    "bus-error",
    BEFORE + "/opt/launch.sh: line 22:     7 Bus error               (core dumped) vllm serve\n",
)
case(
    "bus-error-after-oom",
    "npu-out-of-memory",
    BEFORE
    + raised("RuntimeError: NPU out of memory. Tried to allocate 1.00 GiB")
    + "/opt/launch.sh: line 22:     7 Bus error               (core dumped) vllm serve\n",
)
case(
    "device-in-use-k8s",
    "device-used",
    'Error: failed to start container "vllm": Error response from daemon: device is occupied by another container\n',
)
case(
    "plugins-none",
    "no-npu-seen",
    api(
        "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging to help debug the issue."
    ),
)
case(
    "npu-not-initialised",
    "driver",
    died(
        "RuntimeError: Initialize:torch_npu/csrc/core/npu/sys_ctrl/npu_sys_ctrl.cpp:217 NPU function error: aclInit, error code is 507899\n[Error]: An internal error occurs in the Driver module.\n        [drv api] drvGetPlatformInfo failed: drvRetCode=87!"
    ),
)
case(
    "ascend-opp-path",
    "cann-not-set-up",
    died(
        "RuntimeError: NPU function error: aclInit, error code is 148049\n[Error]: The 'ASCEND_OPP_PATH' environment variable is not set, or the value of the environment variable is incorrect."
    ),
)
case(
    "no-soc",
    "cann-start",
    died("RuntimeError: NPU function error: aclInit, error code is 507008\n[Error]: Failed to obtain the SOC version."),
)
case(
    "device-start",
    "chip-open",
    died(
        "RuntimeError: NPU function error: c10_npu::SetDevice(device_id), error code is 507033\n[Error]: Failed to start the device."
    ),
)
case(
    "during-handling",
    "checkpoint-misfit",
    died(
        "KeyError: 'layers.0.mlp.down_proj.weight_scale'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"x\", line 3, in f\n    g()\nRuntimeError: loading failed"
    ),
    "down_proj.weight_scale",
)
case(
    "interleaved",
    "error",
    BEFORE
    + '(VllmWorker rank=0 pid=8) ERROR 09-26 01:47:48 [m.py:546]   File "a.py", line 2, in f\n(VllmWorker rank=1 pid=9) ERROR 09-26 01:47:48 [m.py:546] OverflowError: too deep\n(VllmWorker rank=0 pid=8) ERROR 09-26 01:47:48 [m.py:546]     x = check("NPU out of memory")\n(VllmWorker rank=0 pid=8) ERROR 09-26 01:47:48 [m.py:546] OverflowError: too deep\n',
    "first that was raised",
)
case("memory-words-in-kwargs", "error", died("OverflowError: cannot serve"), "first that was raised")

# -- of vLLM's, PyTorch's, transformers', Docker's, the loader's and the kernel's own words ----------------------------------
case(
    "forked",
    "npu-forked",
    died(
        "RuntimeError: Cannot re-initialize NPU in forked subprocess. To use NPU with multiprocessing, you must use the 'spawn' start method"
    ),
    "VLLM_WORKER_MULTIPROC_METHOD",
)
case(
    "static-tls",
    "static-tls",
    api("ImportError: /usr/lib/aarch64-linux-gnu/libgomp.so.1: cannot allocate memory in static TLS block"),
    "libgomp.so.1",
)
case(
    "ray-placement",
    "device-count",
    api("ValueError: The number of required GPUs exceeds the total number of available GPUs in the placement group."),
)
case(
    "no-manifest", "image-architecture", "docker: no matching manifest for linux/amd64 in the manifest list entries.\n"
)
case("runtime-name", "engine-refused", "docker: Error response from daemon: unknown or invalid runtime name: ascend.\n")
case(
    "bind-source",
    "mount-missing",
    'docker: Error response from daemon: invalid mount config for type "bind": bind source path does not exist: /opt/models.\n',
    "/opt/models",
)
case(
    "mount-source",
    "mount-missing",
    "docker: Error response from daemon: error while creating mount source path '/mnt/weights': mkdir /mnt/weights: read-only file system.\n",
    "/mnt/weights",
)
case("exec-gone", "command-not-found", "exec /opt/launch.sh: no such file or directory\n", "/opt/launch.sh")
case("munmap", "native-crash", BEFORE + "munmap_chunk(): invalid pointer\n")
case("smashing", "native-crash", BEFORE + "*** stack smashing detected ***: terminated\n")
case(
    "segfault-in-hal",
    "native-crash",
    BEFORE + "[88231.1] python3[703]: segfault at 10 ip 0000ffff sp 0000ffff error 4 in libascend_hal.so[ffff+1]\n",
)
case(
    "no-model-type",
    "checkpoint-damaged",
    api(
        "ValueError: Unrecognized model in /opt/models/M. Should have a `model_type` key in its config.json, or contain one of the following strings in its name: albert"
    ),
)
case(
    "config-class",
    "model-unknown",
    api(
        "ValueError: Unrecognized configuration class <class 'transformers_modules.M.configuration_m.MConfig'> for this kind of AutoModel: AutoModelForCausalLM."
    ),
)
case(
    "modeling-needs",
    "module-missing",
    api(
        "ImportError: This modeling file requires the following packages that were not found in your environment: blobfile. Run `pip install blobfile`"
    ),
    "blobfile",
)
case("nms", "binaries-mismatch", api("RuntimeError: operator torchvision::nms does not exist"))
case(
    "tokenizers-version",
    "versions-mismatch",
    api(
        "ImportError: tokenizers>=0.22.0,<=0.23.0 is required for a normal functioning of this module, but found tokenizers==0.21.1."
    ),
)
case(
    "modelproto",
    "checkpoint-damaged",
    api("RuntimeError: Internal: could not parse ModelProto from /opt/models/M/tokenizer.model"),
    "/opt/models/M/tokenizer.model",
)
case(
    "untagged",
    "tokenizer-missing",
    api("Exception: data did not match any variant of untagged enum ModelWrapper at line 757443 column 3"),
)
case(
    "torch-bin",
    "checkpoint-damaged",
    died(
        "OSError: Unable to load weights from pytorch checkpoint file for '/opt/models/M/pytorch_model.bin' at '/opt/models/M/pytorch_model.bin'."
    ),
)
case(
    "no-file-named",
    "weights-missing",
    died("OSError: Error no file named pytorch_model.bin, model.safetensors, found in directory /opt/models/M."),
)
case(
    "hub-dns",
    "weights-missing",
    api(
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='www.modelscope.cn', port=443): Max retries exceeded with url: /api/v1/models/M (Caused by NameResolutionError(\"Failed to resolve 'www.modelscope.cn' ([Errno -3] Temporary failure in name resolution)\"))"
    ),
)
case(
    "numpy",
    "host-out-of-memory",
    died(
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 3.10 GiB for an array with shape (1, 2) and data type float32"
    ),
)
case(
    "kv-tokens",
    "kv-cache",
    died(
        "ValueError: The model's max seq len (131072) is larger than the maximum number of tokens that can be stored in KV cache (65536). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine."
    ),
    "65536",
)
case("zmq-device", "interface", died("zmq.error.ZMQError: No such device (addr='tcp://eth9:13345')"))
case("gloo-device", "interface", died("RuntimeError: makeDeviceForHostname(): unsupported gloo device"))
case(
    "watchdog",
    "peer-failed",
    died(
        "RuntimeError: [Rank 3] Watchdog caught collective operation timeout: WorkHCCL(SeqNum=4, OpType=ALLREDUCE, Timeout(ms)=1800000) ran for 1800123 milliseconds before timing out."
    ),
)
case(
    "unique-id",
    "peer-missing",
    died(
        "torch.distributed.DistBackendError: [7] is setting up HCCL communicator and retrieving hcclUniqueId from [0] via c10d key-value store by key '0', but store->get('0') got error: Socket Timeout"
    ),
)
case(
    "ee1001",
    "chip-number",
    died(
        "RuntimeError: NPU function error: aclrtSetDevice, error code is 107001\nEE1001: [PID: 703] The argument is invalid.Reason: Set device failed, invalid device, set device=8, valid device range is [0, 8)"
    ),
)
case(
    "op-compile",
    "operator-failed",
    died(
        "RuntimeError: NPU function error: aclopCompileAndExecute, error code is 500002\nE40021: [PID: 703] Failed to compile Op [Cast3]. (oppath: [Pre-compile cast.py failed with errormsg/stack: ...])"
    ),
)
case(
    "cpus",
    "cpus-few",
    died("RuntimeError: Insufficient CPUs for binding: total_allowed=16, num_npu=8, but each NPU requires >=5 CPUs."),
    "enable_cpu_binding",
)
case("connector", "bad-value", died("ValueError: Unsupported connector type: MooncakeConnectorV9"))
case(
    "spec",
    "bad-value",
    api(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for SpeculativeConfig\n  Value error, Unsupported speculative method: 'eagle9' [type=value_error]"
    ),
)
case(
    "port-80",
    "port-permission",
    BEFORE
    + "(APIServer pid=1) ERROR:    [Errno 13] error while attempting to bind on address ('0.0.0.0', 80): permission denied\n",
    "port 80",
)
case("none-type", "error", died("AttributeError: 'NoneType' object has no attribute 'shape'"))
case(
    "tool-json-then-death",
    "kernel-crash",
    BEFORE
    + "(APIServer pid=1) ERROR 11-26 05:00:00 [hermes_tool_parser.py:120] Error in extracting tool call from response.\n(APIServer pid=1) ERROR 11-26 05:00:00 [hermes_tool_parser.py:120] Traceback (most recent call last):\n(APIServer pid=1) ERROR 11-26 05:00:00 [hermes_tool_parser.py:120] json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)\n"
    + raised("RuntimeError: ACL stream synchronize failed, error code:507015")
    + AFTER,
)
case(
    "cause-after-echo",
    "npu-out-of-memory",
    BEFORE
    + raised("RuntimeError: EI0002: [PID: 700] The wait execution of the Notify register times out.", 0, 20)
    + raised("RuntimeError: ACL stream synchronize failed, error code:507011", 1, 21)
    + raised("RuntimeError: NPU out of memory. Tried to allocate 1.00 GiB", 5, 33)
    + AFTER,
)
case(
    "device-lost-then-peers",
    "chip-lost",
    BEFORE
    + raised(
        "RuntimeError: NPU function error: aclrtSynchronizeStream, error code is 507901\n[Error]: The internal host device communication (HDC) session is disconnected.",
        2,
        20,
    )
    + raised("RuntimeError: SUSPECT REMOTE ERROR. error code is 507057", 0, 22)
    + AFTER,
)
case(
    "so-list",
    "driver",
    "npu-smi: error while loading shared libraries: libdrvdsmi_host.so: cannot open shared object file: No such file or directory\n",
)
case(
    "opp-kernels",
    "no-kernels-for-chip",
    died(
        "RuntimeError: call aclnnAdd failed, error code is 561112\nEZ9999: Inner Error!\nEZ9999: [PID: 703] Cannot find bin of op Add, integral key 0/1/|float/ND/."
    ),
)
case(
    "ez1001-null",
    "operator-arguments",
    died(
        "RuntimeError: call aclnnMoeInitRoutingV2 failed, detail:EZ1001: [PID: 703] expandedRowIdx shape is not the expected."
    ),
)
case(
    "ascend-native-op-gone",
    "versions-mismatch",
    died("AttributeError: module 'torch_npu' has no attribute 'npu_moe_distribute_dispatch_v3'"),
)
case("npu-fork-resource", "threads", died("BlockingIOError: [Errno 11] Resource temporarily unavailable"))
case("setpriority", "error", died("PermissionError: [Errno 1] Operation not permitted"))
case(
    "rank-table-path",
    "rank-table",
    died(
        "RuntimeError: HCCL function error: HcclCommInitClusterInfo, error code is 1\n[ERROR] HCCL(703,python3):2026-11-26-03:12:31.1.2 [hccl_comm_op.cc:80] invalid rank table file, please check RANK_TABLE_FILE[/user/config/hccl.json]"
    ),
)
case(
    "p2p-enable",
    "chips-not-connected",
    died(
        "RuntimeError: EI0010: [PID: 703] P2P communication failed. Reason: Enable P2P Failed, src_device_phy_id: 0, dst_device_phy_id: 5, error code: 1."
    ),
)
case(
    "mooncake-port",
    "port-in-use",
    BEFORE
    + "E20261126 03:12:31.100200 4120 tcp_transport.cpp:220] TcpTransport: bind failed: Address already in use, port 15272\n"
    + AFTER,
)
case("hixl-init", "kv-transfer-start", died("RuntimeError: Failed to initialize AdxlEngine, status: 103900"))
case("kv-timeouts", "kv-transfer-failed", BEFORE + raised("RuntimeError: Mooncake transfer failed, ret: -1"))

# -- advice in a message is no cause -------------------------------------------------------------------------------------
case(
    "ei0009-solution",
    "transport-failed",
    died(
        "RuntimeError: EI0009: [PID: 703] Device 3 transport init error. Reason: createLink failed.\n        Solution: Use hccn_tool to check whether the port link is down, whether the TLS settings are inconsistent, and the lldp neighbor is not found.\n        1. Check whether the network port is down."
    ),
)
case(
    "ei0006-reasons",
    "hccl-timeout",
    died(
        "RuntimeError: EI0006: [PID: 703] Getting socket times out. Reason: 1. The remote does not initiate a connect request. 2. The TLS settings are inconsistent. 3. the network port is down.\n        2. The TLS settings are inconsistent."
    ),
)
case(
    "ray-potential",
    "process-vanished",
    BEFORE
    + "(EngineCore_DP0 pid=600) ERROR 11-26 03:12:40 [core.py:790] ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n(EngineCore_DP0 pid=600) ERROR 11-26 03:12:40 [core.py:790] The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. There are some potential root causes. (1) The process is killed by SIGKILL by OOM killer due to high memory usage. (2) ray stop --force is called. (3) The worker is crashed unexpectedly due to SIGSEGV or other unexpected errors.\n",
)
case(
    "ray-memory",
    "host-out-of-memory",
    BEFORE
    + "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.\n(raylet) 1 Workers (tasks / actors) killed due to memory pressure (OOM)\n",
)
case(
    "cuda-image",
    "no-npu-seen",
    api("ImportError: libcuda.so.1: cannot open shared object file: No such file or directory"),
)
case(
    "download-tls",
    "weights-missing",
    api(
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1000)"
    ),
)
case("cert-small", "certificate", api("ssl.SSLError: [SSL: EE_KEY_TOO_SMALL] ee key too small (_ssl.c:4067)"))
case("odd-exception", "error", died("queue.Empty"))
case("odd-exception-2", "error", died("struct.error: unpack requires a buffer of 8 bytes"))

case(
    "device-type",
    "no-kernels-for-chip",
    died(
        "AssertionError: Current device type: AscendDeviceType.A3 does not match the installed version's device type: AscendDeviceType.A2, please check your installation package."
    ),
)
case(
    "system-error",
    "threads",
    BEFORE
    + "terminate called after throwing an instance of 'std::system_error'\n  what():  Resource temporarily unavailable\n",
)
case(
    "quant-types",
    "quantization",
    died("NotImplementedError: Currently, vLLM Ascend only supports following quant types:['W8A8', 'W8A8_DYNAMIC']"),
)
case(
    "shards-quantized",
    "quantization",
    died(
        "ValueError: Detected some but not all shards of model.layers.0.self_attn.qkv_proj are quantized. All shards of fused layers to have the same precision."
    ),
)
case(
    "state-dict",
    "checkpoint-misfit",
    died('RuntimeError: Error(s) in loading state_dict for Eagle3:\n\tMissing key(s) in state_dict: "fc.weight".'),
)
case(
    "bare-assertion",
    "checkpoint-misfit",
    BEFORE
    + WORKER.format(3, 703, 31)
    + 'File "w.py", line 3, in weight_loader\n'
    + WORKER.format(3, 703, 31)
    + "    assert param_data.shape == loaded_weight.shape\n"
    + WORKER.format(3, 703, 31)
    + "           ^^^^^^^^^^^^^^^^^^^^^^^\n"
    + WORKER.format(3, 703, 31)
    + "AssertionError\n"
    + AFTER,
)
case(
    "bare-assertion-unknown",
    "error",
    BEFORE
    + WORKER.format(3, 703, 31)
    + 'File "w.py", line 3, in f\n'
    + WORKER.format(3, 703, 31)
    + "    assert self.depth > 3\n"
    + WORKER.format(3, 703, 31)
    + "AssertionError\n"
    + AFTER,
)
case("chinese-not-found", "command-not-found", "/opt/launch.sh：第 40 行：vllm：未找到命令\n", "vllm")
case(
    "chinese-segfault",
    "native-crash",
    "/opt/launch.sh: 第 40 行:    17 段错误               （核心已转储）vllm serve\n",
)
case("chinese-killed", "killed", "/opt/launch.sh: 第 40 行:    17 已杀死               vllm serve\n")
case("chinese-disk", "disk-full", "tee: /var/log/serve.log: 设备上没有空间\n")

# -- long messages of CANN, and more writers ---------------------------------------------------------------------------------
case(
    "driver-internal-long",
    "driver",
    BEFORE
    + "".join(
        "(EngineCore pid=118) " + line + "\n"
        for line in """\
RuntimeError: rtGetDeviceCount: error code is 507899
        rtGetDeviceCount execution failed, reason=driver error:internal error[FUNC:FuncErrorReason][FILE:error_message_manage.cc][LINE:65]
        get hardware version fail[FUNC:InitPara][FILE:PlatformInfo.cpp][LINE:89]
        Get device cnt failed, retCode=0x7020010[FUNC:CheckDeviceIdIsValid][FILE:api_error.cc][LINE:4811]
        set default device id failed, ret:507899[FUNC:ReportCallError][FILE:log_inner.cpp][LINE:148]
        chipType=0 does not support get device msg feature.[FUNC:GetDevMsg][FILE:api_impl.cc][LINE:6048]
        The argument is invalid.Reason: rtGetDevMsg execution failed, the feature is not supported""".splitlines()
    ),
)
case(
    "opp-verify",
    "chip-open",
    died(
        "RuntimeError: Initialize:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:152 NPU function error: c10_npu::SetDevice(device_id_), error code is 507033\n[ERROR] 2026-11-26-03:12:31 (PID:703, Device:0, RankID:-1) ERR00100 PTA call acl api failed\n[Error]: Failed to start the device.\nE30006: [PID: 703] Failed to verify the OPP\n        Possible Cause: 1.The OPP is incorrect.\n        TraceBack (most recent call last):\n        tsd client wait response fail, hostpid:703, device response code[1]. unknown device error."
    ),
)
case(
    "context-empty-soc",
    "cann-start",
    died(
        "RuntimeError: GetDevice:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:60 NPU function error: aclrtGetCurrentContext(&used_devices[local_device]), error code is 107002\n[ERROR] 2026-11-26-03:12:31 (PID:703, Device:0, RankID:-1) ERR00100 PTA call acl api failed\n[Error]: The context is empty.\n        Check whether acl.rt.set_context or acl.rt.set_device is called.\nEE1001: [PID: 703] The argument is invalid.Reason: rtGetDevMsg execute failed, reason=[context pointer null]\n        Solution: 1.Check the input parameter range of the function.\n        [Init][Version]init soc version failed, ret = 507008[FUNC:ReportInnerError]"
    ),
)
case(
    "loguru",
    "npu-out-of-memory",
    "server   | 2026-11-26 11:14:59.028 | INFO     | __main__:f:90 - out of memory is only a word here\nserver   | 2026-11-26 11:14:59.028 | ERROR    | __main__:f:95 - NPU out of memory. Tried to allocate 1.00 GiB\n",
)
case(
    "nested-prefix",
    "chip-open",
    BEFORE
    + "(EngineCore_1 pid=113803) (VllmWorker rank=0 pid=114020) ERROR 11-26 08:38:50 [multiproc_executor.py:492] RuntimeError: Initialize:torch_npu/csrc/core/npu/sys_ctrl/npu_sys_ctrl.cpp:146 NPU function error: c10_npu::SetDevice(device_id_), error code is 507033\n",
)
case(
    "dump-so",
    "cann-not-set-up",
    "/opt/llama-box: error while loading shared libraries: libascend_dump.so: cannot open shared object file: No such file or directory\n",
    "libascend_dump.so",
)
case(
    "server-exited-137",
    "killed",
    "2026-11-26 03:12:31,001 - gpustack.worker.serve_manager - ERROR - Inference server exited with code 137.\n",
)
case(
    "plog-tls",
    "tls-different",
    BEFORE
    + "[ERROR] HCCL(703,python3):2026-11-26-03:12:31.135.732 [hccl_socket_manager.cc:800] [703]rank[3] TlsStatus[1] of local is not consistent with remote TlsStatus[0]\n"
    + AFTER,
)
case(
    "dispatch-ez9999",
    "moe-exchange",
    died(
        "RuntimeError: npu_moe_distribute_combine_v2:build/CMakeFiles/torch_npu.dir/compiler_depend.ts:20 NPU function error: call aclnnMoeDistributeCombineV3 failed, error code is 561002\nEZ9999: Inner Error!\nEZ9999[PID: 703]: epWorldSize is invalid, only support 16, 32, but got 24."
    ),
)
case(
    "hccl-buffer-mb",
    "hccl-buffsize",
    died(
        "RuntimeError: call aclnnMoeDistributeDispatchV2 failed, error code is 561002\nEZ9999[PID: 703]: HCCL_BUFFSIZE is too SMALL, maxBs = 256, NEEDED_HCCL_BUFFSIZE = 2048MB, HCCL_BUFFSIZE=200MB."
    ),
    "2048",
)
case(
    "hccn-conf",
    "transport-failed",
    died(
        "RuntimeError: HCCL function error: HcclAlltoAllV, error code is 19\nEI0009: [PID: 703] Device 3 transport init error. Reason: [Create][DestLink]Create Dest error! createLink para:rank[3]-localUserrank[3]-localIpAddr[192.0.2.3/3], dst_rank[11]."
    ),
)
case(
    "roce-cqe",
    "peer-failed",
    died(
        "RuntimeError: ACL stream synchronize failed, error code:507011\nEI0013: [PID: 703] An error CQE occurred during operator execution. Local information: server 192.0.2.11, device ID 3, device IP 198.51.100.3. Peer information: server 192.0.2.12, device ID 3, device IP 198.51.100.19."
    ),
)
case(
    "memory-words",
    "host-out-of-memory",
    "Nov 26 03:12:31 node1 kernel: Out of memory: Killed process 703 (VLLM::Worker_TP) total-vm:123kB, anon-rss:1kB\n",
)
case("start-script-port", "port-in-use", "/opt/launch.sh: port 8000 is already in use\n", ":8000")
case(
    "json-args-shell",
    "bad-argument",
    "usage: vllm serve [model_tag] [options]\nvllm serve: error: argument --kv-transfer-config: Value {kv_connector: cannot be converted to <function loads at 0xffff>.\n",
    "--kv-transfer-config",
)
case(
    "no-module-vllm-ascend",
    "versions-mismatch",
    api("ModuleNotFoundError: No module named 'vllm_ascend.distributed.mooncake_connector'"),
)
case(
    "plugin-load",
    "versions-mismatch",
    BEFORE
    + "ERROR 11-26 03:10:05 [__init__.py:93] Failed to load plugin ascend\nERROR 11-26 03:10:05 [__init__.py:93] Traceback (most recent call last):\nERROR 11-26 03:10:05 [__init__.py:93]   File \"x.py\", line 2, in f\nERROR 11-26 03:10:05 [__init__.py:93] ImportError: cannot import name 'CompilationLevel' from 'vllm.config' (/vllm-workspace/vllm/vllm/config/__init__.py)\n(APIServer pid=1) RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging.\n",
)

case(
    "ej-family",
    "cann-runtime",
    died(
        "RuntimeError: HCCL function error: HcclBarrier, error code is 4\nEJ0009: [PID: 703] something of HCCP failed"
    ),
    "EJ0009",
)
case(
    "ez-family",
    "cann-runtime",
    died("RuntimeError: call aclnnFoo failed, detail:EZ4007: [PID: 703] something failed"),
    "EZ4007",
)
case(
    "ei-inner",
    "cann-runtime",
    died("RuntimeError: HCCL function error: HcclBarrier, error code is 4\nEI9999: Inner Error!"),
    "EI9999",
)
case("opp-path-code", "cann-not-set-up", died("RuntimeError: NPU function error: aclInit, error code is 148049"))
case(
    "vllm-max-seqs-stream",
    "chip-resources",
    died("RuntimeError: ACL graph capture: The number of stream resources is insufficient, error code is 207008"),
)
case(
    "profile-run-oom-in-api",
    "npu-out-of-memory",
    BEFORE
    + "(APIServer pid=1) INFO:     Started server process [1]\n"
    + raised(
        "torch.OutOfMemoryError: NPU out of memory. Tried to allocate 512.00 MiB (NPU 7; 61.27 GiB total capacity; 60.10 GiB already allocated)",
        7,
    )
    + AFTER,
    "NPU 7",
)
case(
    "hang-then-kill",
    "killed",
    BEFORE
    + "(EngineCore_DP0 pid=600) INFO 11-26 04:00:00 [shm_broadcast.py:600] No available shared memory broadcast block found in 60 seconds. This typically happens when some processes are hanging\n/opt/launch.sh: line 22:     7 Killed                  vllm serve /opt/models/M\n",
)
case(
    "dp-coordinator",
    "peer-missing",
    BEFORE
    + "(EngineCore_DP4 pid=604) ERROR 11-26 03:20:00 [core.py:790] RuntimeError: Did not receive response from front-end process within 5 minutes\n"
    + AFTER,
)
case(
    "dp-master-port",
    "port-in-use",
    BEFORE
    + "(EngineCore_DP0 pid=600) ERROR 11-26 03:12:31 [core.py:790] torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. The server socket has failed to bind to [::]:13345 (errno: 98 - Address already in use). The server socket has failed to bind to 0.0.0.0:13345 (errno: 98 - Address already in use).\n",
    ":13345",
)
case(
    "hccl-tcp-connect",
    "hccl-timeout",
    died(
        "RuntimeError: HCCL function error: HcclCommInitRootInfo, error code is 11\n[ERROR] HCCL(703,python3):2026-11-26-03:12:31.135.732 [hccl_socket_manager.cc:778] wait socket establish timeout, role[1] rank[12] timeout[120]"
    ),
)
case(
    "weights-eio",
    "checkpoint-permission",
    died("OSError: [Errno 5] Input/output error: '/mnt/nfs/M/model-00001-of-00046.safetensors'"),
    "/mnt/nfs/M",
)
case(
    "nfs-endpoint",
    "checkpoint-permission",
    died("OSError: [Errno 107] Transport endpoint is not connected: '/mnt/weights/M'"),
)
case(
    "mode-of-weights",
    "checkpoint-permission",
    died("PermissionError: [Errno 13] Permission denied: '/opt/models/M/tokenizer.json'"),
    "tokenizer.json",
)
case(
    "readonly-log",
    "cache-folder",
    BEFORE + "mkdir: cannot create directory '/root/ascend/log': Read-only file system\n" + AFTER,
)
case("home-missing", "cache-folder", api("PermissionError: [Errno 13] Permission denied: '/.cache'"), "/.cache")
case(
    "flashinfer-style-lock",
    "cache-folder",
    died("PermissionError: [Errno 13] Permission denied: '/tmp/vllm_lock/x.lock'"),
)

case(
    "fewer-npus",
    "device-count",
    died("RuntimeError: The number of NPU devices (4) is smaller than tensor parallel size (8)"),
)
case("davinci-busy", "device-used", died("OSError: [Errno 16] Device or resource busy: '/dev/davinci3'"))
case(
    "dtype-310p",
    "operator-unsupported",
    died("ValueError: bfloat16 is not supported on Ascend310P, please use float16"),
)
case("pickle-empty", "checkpoint-damaged", died("EOFError: Ran out of input"))
case(
    "hub-size",
    "checkpoint-damaged",
    died("OSError: Consistency check failed: file should be of size 4998 but has size 200 (model-00003.safetensors)"),
)
case("quant-config", "quantization", died("ValueError: Cannot find the config file for ascend"))
case("errno-11", "threads", died("OSError: [Errno 11] Resource temporarily unavailable"))
case(
    "plog-roce-down",
    "link-down",
    BEFORE
    + "[ERROR] HCCP(703,python3):2026-11-26-03:12:31.135.732 [rs.c:1] rdev init failed, phyId(3), roce port is down\n"
    + AFTER,
)
case(
    "mount-segment",
    "kv-transfer-start",
    BEFORE
    + "E1126 16:59:47.826553 19842 client_service.cpp:1521] register_local_memory_failed base=0x12e5c0000000 size=1073741824, error=-1\nE1126 16:59:47.826575 19842 real_client.cpp:331] Failed to mount segment: INVALID_PARAMS\n",
)
case(
    "name-cannot",
    "name-not-resolved",
    died("ValueError: Hostname node-1.example.org cannot be resolved"),
    "node-1.example.org",
)


@pytest.mark.parametrize("cause, word, log", FIELD)
def test_the_cause_in_a_log_from_the_field(cause, word, log):
    first = (explain(log) or [{"id": "", "meaning": "", "advice": "", "line": ""}])[0]
    assert (first["id"], first["line"]) == (cause, first["line"])
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
    "E1126 03:10:10.100200 4120 transfer_metadata_plugin.cpp:300] no usable HCA, falls back to TCP".replace(
        "E1126", "W1126"
    ),
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
    assert time.monotonic() - started < 10  # some two seconds on an idle machine
