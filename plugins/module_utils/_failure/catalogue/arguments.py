# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command was given."""

from __future__ import annotations

from ansible_collections.ascend_ops.vllm.plugins.module_utils._failure.cause import GENERAL, Cause

REFUSED = "value refused"

CAUSES = (
    Cause(
        "unknown-argument",
        "argument unknown",
        "vLLM in this image does not know an argument<<: {argument}>>.",
        "Take it out of vllm_recipe_args, or choose a release that has it with vllm_recipe_release.",
        patterns=(
            r"\berror: unrecognized arguments: (?P<argument>.+)",
            r"\berror: (ambiguous option): (?P<argument>.+)",
        ),
        examples=("vllm: error: unrecognized arguments: --max-num-sqs 48",),
        source="vLLM, argparse",
    ),
    Cause(
        "bad-argument",
        REFUSED,
        "vLLM refuses an argument<<: {argument}>>.",
        "Correct it in vllm_recipe_args.",
        patterns=(
            r"\berror: argument (?P<argument>\S+): .+",
            r"\bvllm[\w. -]*: error: .+",
            r"\bapi_server\.py: error: .+",
            r"\bError: (?P<argument>--[\w-]+) requires --[\w-]+",
        ),
        examples=("vllm serve: error: argument --port: invalid int value: 'http'",),
        source="vLLM, argparse",
    ),
    Cause(
        "parser-unknown",
        REFUSED,
        "vLLM in this image does not have a parser of that name<<: {name}>><<; it has {known}>>.",
        "Correct tool-call-parser or reasoning-parser in vllm_recipe_args, or give the file of the parser on every node with "
        "tool-parser-plugin or reasoning-parser-plugin, inside a mount of the plan.",
        patterns=(
            r"(reasoning|tool( call)?) parser:? ?'?(?P<name>[\w-]+)'? not found\b.*?(Available parsers: (?P<known>[^\"]+))?\"?$",
            r"invalid (tool call|reasoning) parser: (?P<name>\S+)(.*chose from \{(?P<known>[^}]*)\})?",
        ),
        examples=("KeyError: \"Reasoning parser 'm2_think' not found. Available parsers: deepseek_r1, qwen3\"",),
        source="vLLM, parser managers; vllm-ascend issue 14573",
    ),
    Cause(
        "device-count",
        REFUSED,
        "The command asks for more chips than the container has<<: {wanted} of {there}>>.",
        "tensor-parallel-size and the chips of the node must fit: vllm_recipe_chips, and no ASCEND_RT_VISIBLE_DEVICES in vllm_recipe_env.",
        patterns=(
            r"(World size|tensor.parallel.size) \(?(?P<wanted>\d+)\)? (is|cannot be) larger than the (number of )?available \w*\s*\(?(?P<there>\d+)?",
            r"number of required GPUs exceeds the total number of available|Current node has no GPU available|number of (devices"
            r"|NPUs|GPUs|NPU devices)\b.{0,40}(less|fewer|smaller|not enough)|local_rank \d+ is out of",
        ),
        examples=("  Value error, World size (8) is larger than the number of available GPUs (4) in this node.",),
        source="vLLM, parallel config",
    ),
    Cause(
        "named-file-missing",
        "file that an option names",
        "A file that an option names is not in the container<<: {path}>>.",
        "Its folder must be on every node and in a mount of the plan (vllm_recipe_container.mounts); or take out the option of "
        "vllm_recipe_args.",
        patterns=(
            r"(chat.?template|supplied chat template) [^/]{0,20}(?P<path>/\S+?\.jinja\w*).{0,80}(not|fail|No such|looks like a file|n't exist)",
            r"(plugin|parser|config|schema|template).{0,60}No such file or directory: '(?P<path>[^']+)'",
            r"No such file or directory: '(?P<path>[^']+)'",
        ),
        rank=GENERAL,
        examples=(
            "FileNotFoundError: [Errno 2] No such file or directory: '/opt/plugins/m2_think.py'",
            "ValueError: The supplied chat template (/opt/t/x.jinja) looks like a file path, but it failed to be opened.",
        ),
        source="vLLM; vllm-ascend issue 8753",
    ),
    Cause(
        "bad-value",
        REFUSED,
        "vLLM refuses a value of its configuration<<: {argument}>>.",
        "Correct it in vllm_recipe_args.",
        patterns=(
            r"Value error, .*",
            r"Unsupported (connector type|speculative method)",
            r"(Input should be|Unexpected keyword argument|Field required) ?.*\[type=",
            r"must be divisible by tensor.?parallel",
        ),
        details=(r"^(?P<argument>[a-z]\w*(\.\w+)*)$",),  # pydantic names the field in a line of its own
        examples=("  Value error, expert_tensor_parallel_size is not supported",),
        source="vLLM, pydantic",
    ),
    Cause(
        "json-broken",
        REFUSED,
        "Something that should be JSON is not: a file of the checkpoint, or a value of the command.",
        "The traceback above the line says which. A file of some 130 bytes in the checkpoint is a git-lfs pointer that was never replaced; "
        "options that take JSON are dictionaries in vllm_recipe_args.",
        patterns=(r"JSONDecodeError",),
        rank=GENERAL,
        examples=("json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",),
        source="Python",
    ),
    Cause(
        "environment-value",
        REFUSED,
        "vLLM cannot read a value of its environment<<: {value}>>.",
        "Correct the variable in vllm_recipe_env; the line of the traceback above names it.",
        patterns=(
            r"ValueError: invalid literal for int\(\) with base 10: (?P<value>'[^']*')",
            r"Invalid value (?P<value>'[^']*') for VLLM_\w+",
        ),
        rank=GENERAL,
        examples=("ValueError: invalid literal for int() with base 10: '10m'",),
        source="vLLM, environment variables",
    ),
    Cause(
        "certificate",
        "certificate and key",
        "Certificate or key of the API cannot be used<<: {path}>>.",
        "'openssl x509 -noout -in CERT' and 'openssl rsa -noout -check -in KEY' on the node: both must be PEM, belong together and be readable; "
        "see vllm_recipe_tls.",
        patterns=(
            r"KEY_VALUES_MISMATCH|key values mismatch|\bPEM lib\b|bad (password|decrypt)|NO_START_LINE|KEY_TOO_SMALL|MD_TOO_WEAK|SSLError: \[(X509|PEM)"
            r"|(No such file or directory|Permission denied): '(?P<path>[^']+\.(pem|crt|cer|cert|key))'|(certfile|keyfile"
            r"|ssl_\w*file).{0,60}(No such|not found|denied)",
        ),
        examples=("ssl.SSLError: [SSL: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:3900)",),
        source="Python, ssl",
    ),
)
