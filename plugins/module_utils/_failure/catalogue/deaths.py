# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deaths that no Python traceback tells, and the engine's refusal to start a container."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.cause import GENERAL, OUTER, Cause

NATIVE = "native crash"

CAUSES = (
    Cause(
        "device-missing",
        "chip cannot be opened",
        "A device that the plan gives to the container is not on the node<<: {path}>>.",
        "'ls /dev/davinci*' on the node: after a restart the driver may not be loaded ('npu-smi info'), or the node has fewer chips than "
        "vllm_recipe_chips says.",
        patterns=(
            r"error gathering device information.*\"(?P<path>/dev/\S+)\"",
            r"(?P<path>/dev/(davinci|hisi|devmm)\w*)\W+no such (file|device)",
        ),
        examples=(
            'Error response from daemon: error gathering device information while adding custom device "/dev/davinci8": no such file or directory',
        ),
        source="Docker",
    ),
    Cause(
        "mount-missing",
        "container cannot be started",
        "A file or folder that the plan mounts is not on the node<<: {path}>>.",
        "Create or mount it on the node, or correct vllm_recipe_weights_dir or vllm_recipe_container.mounts.",
        patterns=(
            r"bind source path does not exist: (?P<path>/\S+[^.\s])|error while creating mount source path '(?P<path>[^']+)'",
        ),
        examples=(
            'Error response from daemon: invalid mount config for type "bind": bind source path does not exist: /opt/models.',
        ),
        source="Docker",
    ),
    Cause(
        "engine-refused",
        "container cannot be started",
        "The container engine could not start the container.",
        "'docker start CONTAINER' and 'journalctl -u docker' on the node show the same; a hook of Ascend's Docker runtime that fails is taken out "
        "by runc as the default runtime in /etc/docker/daemon.json.",
        patterns=(
            r"OCI runtime create failed|failed to create (shim|task)|prestart hook\b.*(error|exit)|error running (prestart )?hook"
            r"|invalid runtime name|could not select device driver|ascend-docker-(hook|runtime)\b.*(fail|error)|error mounting",
        ),
        examples=(
            "OCI runtime create failed: container_linux.go:380: starting container process caused: error mounting",
        ),
        rank=GENERAL,
        source="Docker; Ascend Docker Runtime",
    ),
    Cause(
        "command-not-found",
        "image does not have the command",
        "A command that the container runs is not in the image<<: {command}>>.",
        "The image is not one of vllm-ascend, or its PATH was replaced: compare vllm_recipe_image with the release's, and take PATH out of "
        "vllm_recipe_env.",
        patterns=(
            r"^exec (?P<command>/\S+): no such file or directory|line \d+: (?P<command>\S+): (command )?not found|(exec"
            r"|executable file).{0,20}\"?(?P<command>[\w./-]+)\"?.{0,20}not found|(?<![\w./-])(?P<command>[\w./-]+): command not found",
        ),
        exits=(127,),
        examples=("/etc/ascend-vllm/x/launch.sh: line 40: vllm: command not found",),
        source="shell",
    ),
    Cause(
        "not-executable",
        "image does not have the command",
        "A command that the container runs cannot be executed<<: {command}>>.",
        "Look at its mode in the image, and at a mount with noexec over it.",
        patterns=(
            r"line \d+: (?P<command>\S+): (Permission denied|cannot execute)|exec: \"?(?P<command>\S+?)\"?: permission denied",
        ),
        exits=(126,),
        examples=("/etc/ascend-vllm/x/launch.sh: line 40: /usr/local/bin/vllm: Permission denied",),
        source="shell",
    ),
    Cause(
        "native-crash",
        NATIVE,
        "A process crashed outside of Python<<: {signal}>>.",
        "'dmesg' on the node and CANN's log (diagnostics.yml collects it) show where. Start once without jemalloc (npu_host_tuning_jemalloc) and "
        "without mounts over the image's libraries; then compare the driver with what the image's CANN needs, and try another release.",
        patterns=(
            r"(?P<signal>Segmentation fault|Illegal instruction|SIGSEGV|SIGILL)|Segfault encountered|Failed core proc.*: -(11|6|4)\b"
            r"|exited with code (139|134|132)\b|line \d+: +\d+ (?P<signal>Aborted)|(?P<signal>double free or corruption|corrupted size)"
            r"|free\(\): invalid|malloc\(\): |munmap_chunk\(\)|stack smashing detected|segfault at |Fatal Python error|terminate called",
        ),
        exits=(139, 134, 132, 136),
        rank=GENERAL,
        examples=("/etc/ascend-vllm/x/launch.sh: line 40:    17 Segmentation fault      (core dumped) vllm serve",),
        source="Linux",
    ),
    Cause(
        "process-vanished",
        NATIVE,
        "A process of the service ended without a word: it was killed, mostly for want of host memory, or crashed outside of Python.",
        "'dmesg | grep -i -e oom -e killed -e segfault' on the node, and CANN's log (diagnostics.yml collects it), tell which.",
        patterns=(r"proc\w* \S+ died unexpectedly", r"actor died unexpectedly"),
        rank=OUTER,
        examples=("Worker proc VllmWorker-3 died unexpectedly, shutting down executor.",),
        source="vLLM, executor",
    ),
    Cause(
        "stopped-from-outside",
        "stopped from outside",
        "The container was ended by a signal from outside, not by an error of its own.",
        "'docker events' and 'journalctl' of that time show by whom: an operator, a restart of Docker, or the node's shutdown.",
        exits=(143,),
        rank=GENERAL,
        source="Docker",
    ),
)
