# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image: its CANN, its kernels, and whether what is in it belongs together."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.cause import GENERAL, Cause

OTHER_CHIP = "image made for another chip"
ENVIRONMENT = "CANN environment of the image not set up"
TOGETHER = "vllm and vllm-ascend do not belong together"
OPERATOR = "operator not supported by this CANN"
ACLNN = "CANN, aclnn return codes"

CAUSES = (
    Cause(
        "image-architecture",
        OTHER_CHIP,
        "The image is for another processor.",
        "'uname -m' on the node against 'docker image inspect --format {{.Architecture}} IMAGE': pull or load the image for the node's "
        "processor (vllm_recipe_image).",
        patterns=(r"exec format error|no matching manifest for",),
        examples=("exec /usr/bin/bash: exec format error",),
        source="Docker",
    ),
    Cause(
        "no-kernels-for-chip",
        OTHER_CHIP,
        "The image has no kernels for this chip.",
        "Choose the image that is made for the hardware: tags for A3 end with -a3, those for A2 do not (vllm_recipe_image, "
        "vllm_recipe_release).",
        patterns=(
            r"opp_kernel package|binary_info_config\.json|does not has any binary|Cannot find binary for op|binary kernel library",
            r"device type\b.{0,60}does not match the installed version's device type",
            r"(unsupported|unknown|invalid|not support\w*) soc(_|\b)|soc ?version.{0,40}(not support|unsupport|invalid|mismatch)",
        ),
        codes=("561107", "561112", "561113", "561108"),
        examples=(
            "RuntimeError: call aclnnSwiGlu failed, detail:EZ1001: [PID: 72] Get path and read binary_info_config.json failed, please "
            "check if the opp_kernel package is installed!",
        ),
        source=ACLNN + "; vllm-ascend issues 237 and 573",
    ),
    Cause(
        "cann-not-set-up",
        ENVIRONMENT,
        "A library of CANN is not found<<: {library}>>.",
        "Take LD_LIBRARY_PATH and ASCEND_ variables out of vllm_recipe_env, so that the image's own set_env.sh counts; folders go in "
        "front with vllm_recipe_env_prepend. Where the image does not have the library, choose another release (vllm_recipe_release).",
        patterns=(
            r"(?P<library>\blib(atb|hccl|ascendcl|opapi|acl\w*|runtime|ge_\w*|graph\w*|nnopbase|msprofiler|mki|lcal|asdops|tbe\w*)\w*\.so"
            r"[.\d]*): cannot open shared object",
            r"(?P<library>(?<![\w.+-])(?!lib(ascend_hal|dcmi|drvdsmi_host|c_sec|cud\w*|cublas\w*|nccl"
            r"|nv\w*)\.)[\w.+-]+\.so[.\d]*): cannot open shared object file",
            r"No module named (?P<library>'(acl|te|tbe|hccl|opc_tool)\b[\w.]*')",
            r"(ascend-toolkit|nnal|/cann)\S*: No such file|ASCEND_(TOOLKIT_)?(HOME|OPP)_PATH.{0,40}(not set|unset|empty)",
        ),
        codes=("148049",),
        examples=("ImportError: libatb.so: cannot open shared object file: No such file or directory",),
        source="vllm-ascend issues 152 and 6949",
    ),
    Cause(
        "binaries-mismatch",
        TOGETHER,
        "Binaries of the image do not fit each other<<: {symbol}>>.",
        "Something replaces a library of the image: take LD_PRELOAD, LD_LIBRARY_PATH, PYTHONPATH and mounts over the image's Python out "
        "of the recipe, or choose the release's own image (vllm_recipe_image).",
        patterns=(
            r"undefined symbol: (?P<symbol>\S+)|operator (?P<symbol>torchvision::\w+) does not exist|version `(?P<symbol>(GLIBC"
            r"|GLIBCXX|CXXABI)_\S+)' not found",
        ),
        examples=("ImportError: /vllm/_C.abi3.so: undefined symbol: _ZN3c105ErrorC2E",),
        source="dynamic linker",
    ),
    Cause(
        "static-tls",
        TOGETHER,
        "A library is loaded too late for the loader's reserve of thread storage (static TLS)<<: {library}>>.",
        "Load it first: LD_PRELOAD in vllm_recipe_env_prepend<< with {library}>>.",
        patterns=(r"((?P<library>/\S+): )?cannot allocate memory in static TLS block",),
        examples=("ImportError: /usr/lib/aarch64-linux-gnu/libgomp.so.1: cannot allocate memory in static TLS block",),
        source="dynamic linker",
    ),
    Cause(
        "versions-mismatch",
        TOGETHER,
        "vllm and vllm-ascend in the image do not belong together<<: {what}>>.",
        "Run a release as it was published: vllm_recipe_release, without vllm_recipe_image and without mounts over the image's Python. "
        "An image of one's own needs the vllm that its vllm-ascend names.",
        patterns=(
            r"^TypeError: (?P<what>\S+\(\) (got an unexpected keyword argument .*|missing \d+ required (positional|keyword-only).*"
            r"|takes .* positional arguments? but .*))",
            r"TypeError: Can't instantiate abstract class (?P<what>\w+)",
            r"^AttributeError: (?P<what>(module|type object|partially initialized module) '[^']+' has no attribute .*|'(?!(NoneType"
            r"|str|dict|list|tuple|set|int|float|bool|bytes)')\w+' "
            r"object has no attribute '\w+')",
            r"^ImportError: cannot import name (?P<what>'\w+' from '[\w.]+')",
            r"^ModuleNotFoundError: No module named (?P<what>'(vllm|vllm_ascend|torch|torch_npu|transformers|triton)\b[\w.]*')",
            r"^ImportError: (?P<what>\S+ is required for a normal functioning of this module, but found \S+[^.\s])",
            r"(?P<what>Torch not compiled with CUDA enabled|Parameter \w+ has unsupported type .*)",
            r"(?P<what>vllm[-_]?ascend.{0,40}(requires|incompatible|does not match).{0,60}vllm\b.*)",
        ),
        rank=GENERAL,
        examples=("TypeError: AscendFusedMoE.__init__() got an unexpected keyword argument 'is_sequence_parallel'",),
        source="vllm-ascend, versioning policy",
    ),
    Cause(
        "module-missing",
        TOGETHER,
        "The image lacks a Python module<<: {module}>>.",
        "Choose an image or a release that has it (vllm_recipe_image, vllm_recipe_release), or take out the option that needs it.",
        patterns=(
            r"No module named '(?P<module>[\w.]+)'|packages that were not found in your environment: (?P<module>[\w, -]+)",
        ),
        rank=GENERAL,
        examples=("ModuleNotFoundError: No module named 'mooncake'",),
        source="Python",
    ),
    Cause(
        "operator-unsupported",
        OPERATOR,
        "CANN in this image does not have this operator for these inputs.",
        "Choose another release (vllm_recipe_release), or take out what needs the operator: quantization, graph mode, a data type, a "
        "parallel option in vllm_recipe_args.",
        patterns=(
            r"Unsupported_Operator|Failed to find func by type|\b(op|operator|kernel)\b .{0,60}(is )?not support(ed)?\b",
            r"not (currently )?implemented for|Could not run '\w+::\w+' with arguments from the 'NPU'|Not_Supported"
            r"|\b(bfloat16|bf16|DT_\w+|float8\w*|fp8|int4|d(ata )?type \S+) (is |are )?(currently )?not supported"
            r"|'_OpNamespace' '\w+' object has no attribute",
        ),
        codes=(
            "561103",
            "561002",
            "561003",
            "561001",
            "207000",
            "207019",
            "507009",
            "EZ0501",
            "EZ3002",
            "EZ3003",
            "EZ9010",
            "EH0006",
        ),
        examples=(
            "        Failed to find func by type TransData, func_name compile_info_creator",
            "RuntimeError: npu_fusion_attention error, error no is 561103 & error msg is ERR00100 PTA call acl api failed.",
        ),
        source=ACLNN + "; vllm-ascend issues 5361 and 5695",
    ),
    Cause(
        "operator-arguments",
        OPERATOR,
        "An operator refuses what it was called with.",
        "Model, quantization and release do not fit: choose another release (vllm_recipe_release), or take out quantization or a data type "
        "that was set in vllm_recipe_args.",
        patterns=(r"Invalid_(Input|Attr)_?\w*|AclNN_Parameter_Error",),
        codes=("161001", "161002", "EZ1001", "EZ0001", "EZ0002", "EZ0003", "EZ0004", "EZ0005", "EZ0006", "EZ0007"),
        rank=GENERAL,
        examples=("RuntimeError: call aclnnQuantMatmulV4 failed, error code is 161002",),
        source=ACLNN,
    ),
    Cause(
        "operator-failed",
        "kernel failed on the chip",
        "An operator of CANN failed<< with code {code}>>.",
        "Read CANN's log of the process (diagnostics.yml collects it) for the reason behind the code. Try another release "
        "(vllm_recipe_release), and graph mode off.",
        codes=("3610x", "5610x", "5611x", "EZ9903"),
        patterns=(r"\bE[1-9]\d{4}: .*|Failed to compile Op",),
        rank=GENERAL,
        examples=("RuntimeError: call aclnnMatmul failed, error code is 561000",),
        source=ACLNN,
    ),
    Cause(
        "graph-compile",
        OPERATOR,
        "Compiling the model into a graph failed.",
        "Start once without graphs: enforce-eager in vllm_recipe_args. Then another compilation-config, or another release.",
        patterns=(
            r"torch\._(dynamo|inductor)\.exc\.|BackendCompilerFailed|InductorError|npugraph_ex.{0,60}(fail|error)|torchair.{0,60}(fail|error)",
        ),
        rank=GENERAL,
        examples=("torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:",),
        source="PyTorch",
    ),
)
