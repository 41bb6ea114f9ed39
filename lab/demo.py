"""The demonstration: a lab, a deploy on it, a question to the model, and where the time went.

Usage: demo.py a2|a3
"""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NODES = {"a2": 2, "a3": 1}
# Where the lab's nodes serve, and under which name: what the plan says for lab/inventories.
SERVICE = {"a2": ("http://10.213.0.11:20004", "minimax25"), "a3": ("http://10.213.0.51:8000", "MiniMax-M2.5")}
QUESTION = "Hello, who are you?"


def phase(times, title, command):
    """Run one phase with its output on the screen; end the demonstration where it fails."""
    print(f"\n=== {title}", flush=True)
    start = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    times.append((title, time.monotonic() - start))
    if status != 0:
        sys.exit(f"demo: '{title}' failed with exit status {status}; what it printed is above.")


def ask(url, model):
    """Put the question to the model as any client would."""
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 40, "temperature": 0}
    request = urllib.request.Request(
        url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=120) as answer:
        return json.load(answer)


def main():
    hardware = sys.argv[1] if len(sys.argv) == 2 else ""
    if hardware not in NODES:
        sys.exit(f"demo: the hardware is '{hardware}'; wanted {' or '.join(NODES)}: make demo HARDWARE=a3")
    lab = [sys.executable, "lab/lab"]
    times = []
    phase(times, "build the images", [*lab, "build"])
    phase(times, f"start {NODES[hardware]} {hardware.upper()} node(s)", [*lab, "up", "--hardware", hardware])
    phase(
        times, "deploy", ["ansible-playbook", f"playbooks/deploy_{hardware}.yml", "-i", f"lab/inventories/{hardware}"]
    )

    url, model = SERVICE[hardware]
    start = time.monotonic()
    answer = ask(url, model)
    times.append(("ask the model", time.monotonic() - start))
    message = answer["choices"][0]["message"]
    text = message.get("content") or message.get("reasoning") or message.get("reasoning_content") or ""
    print(f"\n=== {QUESTION}\n{text!r}")
    print(f"({answer['usage']['completion_tokens']} tokens. The model is tiny: it has learnt this one sentence.)")

    print("\n=== where the time went")
    for title, seconds in [*times, ("in all", sum(seconds for _, seconds in times))]:
        print(f"{seconds:8.1f} s  {title}")
    node = f"{hardware}-node1"
    print(f"""
=== look around
  curl {url}/v1/models
  lab/lab status
  lab/lab ssh {node} docker ps
  lab/lab ssh {node} npu-smi info
  .venv/bin/ansible-playbook playbooks/verify.yml -i lab/inventories/{hardware}
  make clean-lab        takes it all away""")


if __name__ == "__main__":
    main()
