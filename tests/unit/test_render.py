"""What is laid on a node: the launch script runs under a real bash and starts exactly the plan's command."""

import json
import os
import shutil
import subprocess

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common import engine, secrets
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import render
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan import text as shown
from ansible_collections.ascend_ops.vllm.plugins.module_utils._plan.model import processes
from ansible_collections.ascend_ops.vllm.plugins.plugin_utils._plan import plan
from test_plan import CASES, a2, a3

ODD = {
    "PLAIN": "1",
    "EMPTY": "",
    "SPACES": "  two  words ",
    "QUOTE": 'it\'s "quoted"',
    "DOLLAR": "$HOME $(date) `date`",
    "BACKSLASH": "a\\nb\\",
    "LINES": "one\ntwo\n",
    "GLOB": "*;&|#<>",
    "UNICODE": "größe 昇腾",
    "JSON": '{"a": ["b c"]}',
    "EQUALS": "a=b",
}
ARGS = {
    "additional-config": {"text": "it's a $HOME `x`", "nested": {"list": [1, None, True]}},
    "chat-template": 'a "b" {{ messages }}\nline two',
    "served-model-name": ["*", "http://a b"],
    "allowed-origins": '["*", "http://a b"]',
}
FAKE_VLLM = """#!{python}
import json, os, sys
json.dump({{"argv": sys.argv[1:], "env": dict(os.environ)}}, open({out!r}, "w"))
"""


def nodes_of(case):
    return processes(plan((a3 if case.startswith("a3") else a2)(**CASES[case])))


def lay(node, folder, nic="eth7"):
    """Lay the files of a node in a folder, which takes the place of /etc/ascend-vllm inside the container."""
    node["container"]["command"][-1] = str(folder / "launch.sh")
    for item in render.node_files(node, nic):
        path = folder / item["name"]
        path.write_text(item["content"])
        path.chmod(int(item["mode"], 8))
    return folder / "launch.sh"


def launch(node, tmp_path, libraries=None, **environ):
    """Run the launch script with a fake vllm; return what it was given, and what bash said."""
    script = lay(node, tmp_path)
    if libraries is not None:  # the places where jemalloc is looked for
        for number, place in enumerate(("/usr/lib/$(uname -m)-linux-gnu/", "/usr/lib64/")):
            script.write_text(script.read_text().replace(place, f"{tmp_path}/{number}/"))
        for number in libraries:
            (tmp_path / str(number)).mkdir()
            shutil.copy("/bin/true", tmp_path / str(number) / "libjemalloc.so.2")
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "vllm"
    fake.write_text(FAKE_VLLM.format(python=shutil.which("python3"), out=str(tmp_path / "seen.json")))
    fake.chmod(0o755)
    path = "{0}:{1}".format(tmp_path / "bin", os.environ["PATH"])
    ran = subprocess.run(
        ["bash", str(script)],
        capture_output=True,
        text=True,
        timeout=20,
        env=dict({"PATH": path, "HOME": "/root"}, **environ),
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads((tmp_path / "seen.json").read_text()), ran.stderr


@pytest.mark.parametrize("case", CASES)
def test_every_launch_script_passes_bash_and_shellcheck(case, tmp_path):
    for node in nodes_of(case):
        script = lay(node, tmp_path)
        subprocess.run(["bash", "-n", str(script)], check=True)
        if not shutil.which("shellcheck"):
            pytest.skip("no shellcheck on this machine")
        # SC1091: the files of CANN and the environment file are not there to be read.
        checked = subprocess.run(["shellcheck", "-e", "SC1091", str(script)], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("case", CASES)
def test_the_command_that_runs_is_the_plans(case, tmp_path):
    node = nodes_of(case)[-1]
    seen, _said = launch(node, tmp_path)
    assert seen["argv"] == node["argv"][1:]
    for name, value in node["env"].items():
        if name != "LD_PRELOAD":
            assert seen["env"][name] == value.replace("{NIC}", "eth7"), name


def test_odd_arguments_and_values_arrive_unharmed(tmp_path):
    (node,) = processes(plan(a3(args=ARGS)))
    node["env"].update(ODD)  # a plan refuses some of them
    seen, _said = launch(node, tmp_path)
    assert seen["argv"] == node["argv"][1:]
    position = seen["argv"].index("--additional-config")
    assert json.loads(seen["argv"][position + 1]) == dict(ARGS["additional-config"], enable_cpu_binding=True)
    position = seen["argv"].index("--served-model-name")
    assert seen["argv"][position + 1 : position + 3] == ARGS["served-model-name"]
    assert seen["argv"][seen["argv"].index("--allowed-origins") + 1] == ARGS["allowed-origins"]
    assert {name: seen["env"][name] for name in ODD} == ODD


def test_the_environment_file_is_for_a_shell_and_nobody_else(tmp_path):
    (node,) = processes(plan(a3()))
    node["env"].update(ODD)
    lay(node, tmp_path)
    assert (tmp_path / "service.env").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "launch.sh").stat().st_mode & 0o777 == 0o755
    assert "LD_PRELOAD" not in (tmp_path / "service.env").read_text()


@pytest.mark.parametrize("libraries, found", [([0], "0"), ([1], "1"), ([0, 1], "0"), ([], None)])
def test_jemalloc_is_looked_for_in_the_image(libraries, found, tmp_path):
    seen, said = launch(processes(plan(a3()))[0], tmp_path, libraries)
    wanted = f"{tmp_path}/{found}/libjemalloc.so.2" if found else None
    assert seen["env"].get("LD_PRELOAD") == wanted
    assert ("no libjemalloc.so.2 in this image" in said) == (found is None)


def test_jemalloc_beside_another_library(tmp_path):
    (node,) = processes(plan(a3(env={"LD_PRELOAD": "{JEMALLOC}:/nowhere/libother.so"})))
    seen, _said = launch(node, tmp_path, [1])
    assert seen["env"]["LD_PRELOAD"] == f"{tmp_path}/1/libjemalloc.so.2:/nowhere/libother.so"


def test_without_jemalloc_nothing_is_said_of_it(tmp_path):
    (node,) = processes(plan(a3(env={"LD_PRELOAD": None})))
    seen, said = launch(node, tmp_path)
    assert "LD_PRELOAD" not in seen["env"] and said == ""
    assert "libjemalloc" not in (tmp_path / "launch.sh").read_text()


def test_the_drivers_libraries_come_first_where_there_is_a_driver(tmp_path):
    script = render.launch_script(processes(plan(a3()))[0]).replace("/usr/local/Ascend/driver/lib64", str(tmp_path))
    head = script[: script.index("set -eu")] + 'echo "$LD_LIBRARY_PATH"'
    for before, wanted in (("", "{0}/common:{0}/driver:{0}"), ("/x", "{0}/common:{0}/driver:{0}:/x")):
        said = subprocess.check_output(["bash", "-c", head], text=True, env={"LD_LIBRARY_PATH": before})
        assert said.strip() == wanted.format(tmp_path)


def test_a_missing_environment_file_stops_the_script(tmp_path):
    script = lay(processes(plan(a3()))[0], tmp_path)
    (tmp_path / "service.env").unlink()
    assert subprocess.run(["bash", str(script)], capture_output=True).returncode != 0


@pytest.mark.parametrize("nic", [None, ""])
def test_without_an_interface(nic):
    node = processes(plan(a2()))[0]
    with pytest.raises(ValueError) as caught:
        render.environment_file(node, nic)
    assert str(caught.value) == (
        "node a2-node1: no interface is known that carries 10.0.0.11; see network.address of the preflight."
    )
    assert "HCCL_BUFFSIZE=1024\n" in render.environment_file(processes(plan(a3()))[0], nic)  # names no interface


def test_create_argv():
    spec = processes(plan(a3(container={"privileged": True})))[0]["container"]
    argv = engine.create_argv(spec, [{"source": "/a", "target": "/b", "read_only": False}], {"x": "1"})
    text = " ".join(argv)
    assert argv[:3] == ["create", "--name", "vllm-ascend"] and "--privileged" in argv and "--init" in argv
    assert "--mount type=bind,source=/a,target=/b --label x=1" in text and "hccn.conf" not in text
    assert argv[-4:] == ["--entrypoint", "/bin/bash", spec["image"], "/etc/ascend-vllm/launch.sh"]
    assert text.count("--device ") == 16 + 3
    plain = engine.create_argv(processes(plan(a2()))[0]["container"])
    assert "--privileged" not in plain and "--shm-size 1200g --restart unless-stopped" in " ".join(plain)
    assert "type=bind,source=/etc/hccn.conf,target=/etc/hccn.conf,readonly" in plain


def test_plan_text_shows_all_that_runs():
    result = plan(a2(args={"additional-config": {"it's": 1}}))
    text = shown.plan_text(result)
    for node in processes(result):
        assert "{host}  {role} of replica default  a2  {address}".format(**node) in text
        for name, value in node["env"].items():
            assert f"\n    {name}={value}\n" in text
    lines = [line.strip() for line in text.splitlines()]
    assert "--max-num-seqs 128" in lines and "--headless" in lines and "--name minimax2_5" in lines
    assert """--additional-config '{"enable_cpu_binding":true,"it'"'"'s":1}'""" in lines
    assert "{NIC}  the interface that carries the node's address; the node reports it at deploy" in lines
    marked = [line for line in lines if line.endswith("# where the node has it")]
    assert len(marked) == 2 * 9 and any("hccn.conf" in line for line in marked)
    assert "recipe:   MiniMax-M2.5 v0.20.2rc1, checkpoint fp8, scenarios none" in lines
    assert "listens:  api 20004, rpc 2347, hccl 60000-60007" in lines


SECRET_NAMES = (
    "VLLM_API_KEY HF_TOKEN MODELSCOPE_API_TOKEN HUGGING_FACE_HUB_TOKEN AWS_SECRET_ACCESS_KEY S3_SECRET DB_PASSWORD "
    "REGISTRY_PASSWD OPENAI_APIKEY API_TOKENS VLLM_SECRET_FOR_X TOKEN hf_token"
).split()
PLAIN_NAMES = (
    "TOKENIZERS_PARALLELISM VLLM_MAX_TOKENS VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE NUM_TOKENS PAD_TOKEN KEYBOARD MONKEY "
    "SSL_KEY_FILE HF_TOKEN_PATH VLLM_CACHE_KEY PASSIVE VLLM_USE_MODELSCOPE HCCL_BUFFSIZE TOKENIZER_MODE "
    "VLLM_ASCEND_MAX_NUM_BATCHED_TOKENS"
).split()


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name):
    assert secrets.is_secret(name)


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_names_that_only_look_like_secrets(name):
    assert not secrets.is_secret(name)


def test_secrets_are_not_shown():
    planned = plan(a2())
    processes(planned)[0]["env"].update(OLD_API_KEY="canary-1", MAX_TOKENS="4711")  # as an older version had it
    said = shown.plan_text(planned) + json.dumps(shown.plan_data(planned))
    assert "canary" not in said and "MAX_TOKENS=4711" in said
    assert "OLD_API_KEY=********" in said


def test_secrets_in_arguments_are_not_shown():
    planned = plan(a3(args={"hf-token": True}))
    (process,) = processes(planned)
    assert "--hf-token" in shown.plan_text(planned) and "--hf-token" in process["argv"]
    process["args"]["api_key"] = "canary-1"  # as an older version had it
    process["argv"] += ["--api_key", "canary-1"]
    said = shown.plan_text(planned) + json.dumps(shown.plan_data(planned))
    assert "canary" not in said and "--api_key '********'" in said
    assert processes(planned)[0]["args"]["api_key"] == "canary-1", "the plan itself stays as it is"


def test_the_launch_script_reads_secrets_where_there_are_some(tmp_path):
    text = render.launch_script(processes(plan(a3()))[0])
    command = text[text.index("set -eu") :].replace("/etc/ascend-vllm", str(tmp_path))
    (tmp_path / "launch.sh").write_text(command[: command.index("exec vllm")] + 'echo "$A ${KEY:-none}"')
    (tmp_path / "service.env").write_text("A=plain\nKEY=plain\n")

    def said():
        return subprocess.run(["bash", str(tmp_path / "launch.sh")], capture_output=True, text=True, check=True).stdout

    assert said() == "plain plain\n"
    (tmp_path / "secrets.env").write_text(secrets.secrets_file({"KEY": "it's $A"}))
    assert said() == "plain it's $A\n"
