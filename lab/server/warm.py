"""Import what serving imports, so that the image holds the compiled modules and every container starts faster."""

import importlib
import sys

for name in (
    "vllm.entrypoints.cli.main",
    "vllm.entrypoints.cli.serve",
    "vllm.entrypoints.openai.api_server",
    "vllm.v1.worker.cpu_worker",
    "vllm.v1.engine.core",
    "vllm.model_executor.models.minimax_m2",
    "vllm.tool_parsers.minimax_m2_tool_parser",
    "vllm.reasoning.minimax_m2_reasoning_parser",
    "vllm.v1.executor.multiproc_executor",
    "vllm.benchmarks.serve",
    "ascend_lab_vllm",
):
    try:
        importlib.import_module(name)
    except ImportError as problem:
        print(f"{name}: {problem}", file=sys.stderr)
