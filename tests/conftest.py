"""Make the checkout importable as the collection ``ascend_ops.vllm``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "playbooks" / "collections"))
