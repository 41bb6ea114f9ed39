# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chips, their driver, their kernels and what of CANN drives them."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.cause import FOLLOWS, GENERAL, OUTER, Cause

ACL = "CANN, AscendCL return codes"
CLOSED = "chip cannot be opened"
HELD = "chip held by another or by a left-over process"
KERNEL = "kernel failed on the chip"
RUNTIME = "CANN runtime"

CAUSES = (
    Cause(
        "device-used",
        HELD,
        "Another container or process holds a chip.",
        "'docker ps' and 'npu-smi info' on the node show which; stop it, or choose other chips with vllm_recipe_chips.",
        patterns=(
            r"device is used|\b(npu|chip|device)\b[ \d\[\]]{0,6}is (already )?(occupied|in use)"
            r"|Device or resource busy\W+/dev/davinci|resource_busy\(EL0005\)",
            r"(dcmi|ret|drv)\D{0,40}(?<!\w)-8020\b",
        ),
        codes=("EL0005",),
        examples=("dcmi model initialized failed, because the device is used. ret is -8020",),
        source="vllm-ascend FAQ; HAMi",
    ),
    Cause(
        "hccp-left-over",
        HELD,
        "A process of an earlier run still holds the communication service (HCCP) of a chip.",
        "'npu-smi info' lists processes on the chips: end those that belong to no service, wait ten seconds and deploy again. "
        "Where none is listed, restart the node.",
        patterns=(r"last training process is running", r"initialize the HCCP process"),
        codes=("EJ0001",),
        examples=(
            "EJ0001: [PID: 901] Failed to initialize the HCCP process. Reason: Maybe the last training process is running.",
        ),
        source="CANN, HCCP errors",
    ),
    Cause(
        "npu-smi-in-container",
        CLOSED,
        "npu-smi does not work inside the container, and CPU binding asks it.",
        "Compare the driver's mounts of the plan (npu-smi, the driver's folder, libdcmi.so) with the node: 'docker exec "
        "CONTAINER npu-smi info'. To start without CPU binding set enable_cpu_binding to false in vllm_recipe_args "
        "(additional-config).",
        patterns=(
            r"Can not get running npu info",
            r"BIND_CPU=0 to skip",
            r"npu-smi\W{1,3}(command )?not found|No such file or directory: '([^']*/)?npu-smi'",
        ),
        examples=("RuntimeError: Can not get running npu info, you can use BIND_CPU=0 to skip.",),
        source="vllm-ascend, CPU binding",
    ),
    Cause(
        "cpus-few",
        "value refused",
        "The container has too few CPUs for CPU binding.",
        "Give it five or more for each NPU (no cpuset in vllm_recipe_container), or set enable_cpu_binding to false in vllm_recipe_args "
        "(additional-config).",
        patterns=(r"Insufficient CPUs for binding|each NPU requires >?=? ?\d+ CPUs",),
        examples=(
            "RuntimeError: Insufficient CPUs for binding: total_allowed=16, num_npu=8, but each NPU requires >=5 CPUs.",
        ),
        source="vllm-ascend, CPU binding",
    ),
    Cause(
        "npu-forked",
        RUNTIME,
        "A process that had opened a chip was forked, which CANN does not survive.",
        "Set VLLM_WORKER_MULTIPROC_METHOD to spawn in vllm_recipe_env.",
        patterns=(r"re-initialize NPU in forked subprocess",),
        examples=("RuntimeError: Cannot re-initialize NPU in forked subprocess.",),
        source="torch_npu",
    ),
    Cause(
        "no-npu-seen",
        CLOSED,
        "vLLM sees no NPU in the container.",
        "'docker exec CONTAINER npu-smi info' and 'ls /dev/davinci*' on the node: the devices and driver mounts of the plan must be "
        "there, and the image must be one for Ascend that sets up CANN when it starts.",
        patterns=(
            r"Failed to infer device type",
            r"No platform detected",
            r"torch\.npu\.is_available\(\) is False|No NPU (devices? )?(is |are )?(found|available|visible|detected)|device[_ ]count(\(\))? (is|returned) 0",
            r"Device string must not be empty|\blib(cud|cublas|nccl|nv)\w*\.so[.\d]*: cannot open shared",
        ),
        rank=GENERAL,
        examples=("RuntimeError: Failed to infer device type",),
        source="vllm-ascend issues 130 and 540",
    ),
    Cause(
        "chip-number",
        CLOSED,
        "The process asks for a chip number that the container does not have.",
        "Take ASCEND_RT_VISIBLE_DEVICES out of vllm_recipe_env and choose chips with vllm_recipe_chips, which gives devices and "
        "ranks together.",
        patterns=(
            r"Invalid_Device_ID|invalid device ?id|device id \D{0,12}\d+ is invalid",
            r"Set (visible )?device failed, invalid device|input devId:?=?\d+ is (over|error|invalid)",
        ),
        codes=("107001", "EL0002", "EL0015"),
        examples=("RuntimeError: SetPrecisionMode, error code is 107001 (Invalid_Device_ID)",),
        source=ACL,
    ),
    Cause(
        "chip-permission",
        CLOSED,
        "The process may not open the chip.",
        "The container's user must be root or belong to the driver's group: compare vllm_recipe_container.user with 'ls -l "
        "/dev/davinci0' on the node.",
        patterns=(r"No_Permission\(EL0007\)|/dev/davinci\w*\W+Permission denied|Permission denied\W+'?/dev/davinci",),
        codes=("207006", "EL0007"),
        examples=("[ERROR] DRV(31,python3): open /dev/davinci0 failed, runtime result = 207006",),
        source=ACL,
    ),
    Cause(
        "chip-open",
        CLOSED,
        "A chip cannot be opened<<, device {chip}>>.",
        "'npu-smi info' on the node: the chip must be there, healthy and free. Where it hangs, restart the node; the runbook "
        "replace-a-node.md tells what to do with a dead chip.",
        patterns=(
            r"(aclrtSetDevice|rtSetDevice|halDeviceOpen|drvDeviceOpen|open device)\D{0,30}(?P<chip>\d{1,2})?\b.*fail",
            r"Device_Absent/Abnormal",
        ),
        codes=("507033", "207004", "EL0001"),
        examples=(
            "[ERROR] ASCENDCL(88,python3): [device.cpp:72] aclrtSetDevice: open device 3 failed, runtime result = 507033",
        ),
        source=ACL,
    ),
    Cause(
        "driver",
        CLOSED,
        "The NPU driver does not answer inside the container.",
        "'npu-smi info' on the node; then the devices and driver mounts of the plan.",
        patterns=(
            r"dcmi mod(ule|el) initializ\w+ failed|dcmi_init.*fail",
            r"drvRet(Code)?=|Can't get ascend_hal device count|lib(ascend_hal|dcmi|drvdsmi_host|c_sec)\.so: cannot open",
            r"rtGetDeviceCount.*fail|(drv|dsmi|hal)\w* ?\D{0,12}(?<!\w)-80\d\d\b",
            r"kernel module .*(davinci|drv_)\w* .*(not|fail)",
        ),
        examples=("dcmi module initialize failed. ret is -8005",),
        source="npu-smi and dcmi return codes",
    ),
    Cause(
        "hbm-broken",
        KERNEL,
        "The chip's HBM has errors that cannot be corrected (ECC).",
        "'npu-smi info -t ecc -i NPU' on the node. Reset or replace the NPU: runbook replace-a-node.md.",
        patterns=(r"HBM.{0,40}(multi.?bit|uncorrect|UCE)|UCE error|multi.?bit ECC",),
        codes=("507053", "507054"),
        examples=("RuntimeError: ACL stream synchronize failed, error code:507054, HBM multi bit ECC error",),
        source=ACL,
    ),
    Cause(
        "kernel-crash",
        KERNEL,
        "A kernel crashed on a chip<<: chip {chip}>><<, die {die}>>.",
        "Read CANN's log of the process (diagnostics.yml collects it) for the operator's name. Try another release "
        "(vllm_recipe_release) or fewer options of vllm_recipe_args (graph mode, quantization); where it is always the same chip, "
        "look at its ECC counters with 'npu-smi info -t ecc -i NPU'.",
        patterns=(
            r"there is an exception of (aivec|aicore|fftsplus)[^,]* error",
            r"(aicore|aivec|vector core|ai ?core)\W*(kernel )?(execute |trap )?(exception|failed|error)",
        ),
        codes=(
            *("507014", "507015", "507016", "507034", "507035", "507036", "507042", "507043", "507044", "507045"),
            *("507048", "507049", "507050"),
        ),
        details=(r"device\(chipId:\s*(?P<chip>\d+), ?dieId:\s*(?P<die>\d+)\)",),
        examples=(
            "EZ9999[PID: 5512] (EZ9999):  The error from device(chipId:2, dieId:1), serial number is 7, there is an exception of "
            "aivector error, core id is 11, error code = 0",
            "RuntimeError: ACL stream synchronize failed, error code:507015",
        ),
        source=ACL + "; vllm-ascend issue 5661",
    ),
    Cause(
        "aicpu-crash",
        KERNEL,
        "A kernel on the chip's AI CPU failed; with several chips often since a peer of a collective died or was never reached.",
        "Look first for an earlier error of another node or rank. Then read CANN's log (diagnostics.yml collects it), try another "
        "release (vllm_recipe_release), and start once without expert parallel.",
        patterns=(r"aicpu (exception|kernel|task|execute)\W*(failed|error|exception)?",),
        codes=("507017", "507018", "507019", "507020", "507900", "507902"),
        rank=GENERAL,
        examples=("RuntimeError: ACL stream synchronize failed, error code:507018",),
        source=ACL + "; vllm-ascend issue 2105",
    ),
    Cause(
        "chip-resources",
        KERNEL,
        "The chip ran out of streams, events or other handles.",
        "Capture fewer graphs: fewer sizes in cudagraph_capture_sizes (compilation-config in vllm_recipe_args), or a lower "
        "max-num-seqs.",
        patterns=(
            r"(No available stream|stream resource|event resource|notify resource)s?.{0,30}(insufficient|exhaust|not enough)?",
            r"Insufficient_(Event|Stream|Notify|Model|CDQM)_Resources",
        ),
        codes=(
            *("207005", "207007", "207008", "207009", "207010", "207011", "207012"),
            *("EL0006", "EL0008", "EL0009", "EL0010", "EL0011", "EL0013"),
        ),
        examples=("RuntimeError: NPU function error: aclrtCreateStreamWithConfig, error code is 207008",),
        source=ACL,
    ),
    Cause(
        "graph-capture",
        KERNEL,
        "Capturing a graph failed.",
        "Start once without graphs: enforce-eager in vllm_recipe_args. Then fewer cudagraph_capture_sizes, or another release.",
        codes=("10703x", "107024", "107025", "107026", "107027", "107028", "107029", "507903"),
        patterns=(
            r"(capture|captur\w+) .{0,40}graph.{0,40}fail|NPUGraph\w*.{0,30}(fail|error)|aclmdlRICapture\w*.{0,40}(fail|error)",
        ),
        examples=("RuntimeError: NPUGraph::capture_end: aclmdlRICaptureEnd failed, error code is 107030",),
        source=ACL,
    ),
    Cause(
        "chip-lost",
        KERNEL,
        "The chip stopped answering.",
        "'npu-smi info' on the node; where it hangs or shows the chip as not OK, restart the node: runbook replace-a-node.md.",
        codes=("507001", "507010", "507012", "507013", "507901"),
        patterns=(r"lost heartbeat|heartbeat.{0,20}lost|task scheduler.{0,30}(abnormal|lost)",),
        examples=("RuntimeError: NPU function error: aclrtSynchronizeStream, error code is 507010",),
        source=ACL,
    ),
    Cause(
        "chip-waited",
        RUNTIME,
        "A chip waited for work that did not end; mostly since a peer died or hangs.",
        "Look at the other ranks and nodes of the replica for an earlier error. Where none has one, read CANN's log "
        "(diagnostics.yml collects it).",
        codes=("107019", "107020", "507046", "507047", "507011", "507022", "507023", "107022", "107023"),
        patterns=(r"stream sync\w* timeout|event sync\w* timeout|SynchronizeStreamWithTimeout",),
        rank=FOLLOWS,
        examples=("RuntimeError: ACL stream synchronize failed, error code:507011",),
        source=ACL,
    ),
    Cause(
        "remote-chip-failed",
        "peer failed",
        "Another chip or node of the replica failed first; this one only noticed.",
        "Read the log of the other nodes: logs.yml shows all, and the earliest error counts.",
        patterns=(r"SUSPECT REMOTE ERROR",),
        codes=("507055", "507057"),
        rank=FOLLOWS,
        examples=(
            "[ERROR] 2026-11-20 (PID:77, Device:3, RankID:3) ERR00100 PTA call acl api failed. error code is 507057",
        ),
        source=ACL + "; vllm-ascend issue 12461",
    ),
    Cause(
        "cann-start",
        RUNTIME,
        "CANN does not start in the container: image and driver do not fit, or the image is for another chip.",
        "Compare the driver ('npu-smi info' on the node) with what the image's CANN needs, and the image with the hardware "
        "(vllm_recipe_image; images for A3 end with -a3).",
        patterns=(
            r"GELib::\w*Initialize failed|GEInitialize\w* failed|aclInit\w*.{0,20}fail|AclSetCompileopt.{0,120}error code",
            r"acl ?init.{0,20}error|Get ACL JitCompile|SetPrecisionMode.{0,60}error code",
        ),
        codes=("500001", "500004", "507008"),
        rank=GENERAL,
        examples=("RuntimeError: NPU function error: at_npu::native::AclSetCompileopt(...), error code is 500001",),
        source=ACL + "; vllm-ascend issue 302",
    ),
    Cause(
        "driver-error",
        CLOSED,
        "The NPU driver failed inside (its internal error).",
        "'npu-smi info' and 'dmesg' on the node. Look for an EL code in the log: it names the reason. Then compare the driver with what the "
        "image's CANN needs.",
        codes=("507899",),
        rank=GENERAL,
        examples=("RuntimeError: rtGetDeviceCount: error code is 507899",),
        source=ACL + "; vllm-ascend issue 13399",
    ),
    Cause(
        "cann-runtime",
        RUNTIME,
        "A call of the CANN runtime failed<< with code {code}>>.",
        "Read CANN's log of the process (diagnostics.yml collects it); the code is described in CANN's list of return codes.",
        codes=(
            "1000x",
            "5000x",
            "1070x",
            "2070x",
            "5070x",
            "5078x",
            "5079x",
            "145x",
            "545x",
            "2000x",
            "1480x",
            "1610x",
            "EE1x",
            "EE8888",
            "EE9999",
        ),
        patterns=(r"\b(?P<code>(?!EZ9999)E[A-Z]\d{4})(?=[:)\[\]])",),
        rank=GENERAL,
        examples=("RuntimeError: NPU function error: aclrtMallocHost, error code is 107016",),
        source=ACL,
    ),
    Cause(
        "cann-call",
        RUNTIME,
        "A call of CANN failed.",
        "Read CANN's log of the process (diagnostics.yml collects it).",
        patterns=(
            r"call (acl|hccl) api failed|(NPU|ACL|OPS|PTA) function error|ACL stream synchronize failed|EZ9999|Inner Error!"
            r"|Inner error is reported as above",
        ),
        rank=OUTER,
        examples=("[ERROR] 2026-11-20-06:04:59 (PID:55, Device:3, RankID:11) ERR00100 PTA call acl api failed.",),
        source="torch_npu",
    ),
)
