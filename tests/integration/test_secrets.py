"""Secrets stay where they belong, and the API is served over https, to who has the key, where it is to listen.

On the lab's A3 node. Every secret is a word that stands nowhere else: it is looked for in all that a run says and leaves
behind. The tests go on from what the one before them left.
"""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest
import yaml

from ..unit.certificates import Pki
from .conftest import ROOT, Run, lab, playbook

NODE, ADDRESS = "a3-node1", "10.213.0.51"
INVENTORY = ROOT / "lab" / "inventories" / "a3"
FOLDER = "/etc/ascend-vllm/vllm-ascend"
TLS = "/etc/vllm-tls"
REGISTRY = "10.213.0.1:5099"
CHAT = {"model": "MiniMax-M2.5", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
# What a deploy may have touched; images are not looked through.
LOOK_IN = (
    "/etc /root /home /tmp /run /var/log /var/tmp /var/lib/ascend-vllm /var/lib/docker/containers /usr/local /dev/shm"
)


def canary(name):
    return f"canary-{name}-{uuid.uuid4().hex}"


KEY, TOKEN, PASSWORD, NEXT_KEY = (canary(name) for name in ("key", "token", "password", "next"))
CANARIES = (KEY, TOKEN, PASSWORD, NEXT_KEY)


@pytest.fixture(scope="session")
def deployed():
    """Instead of the A2 nodes' own: nothing here needs them."""


@pytest.fixture(scope="module", autouse=True)
def node():
    """An A3 node that is deployed without secrets when all is over."""
    was_there = NODE in lab("status")
    lab("up", "--hardware", "a3")
    lab("mend", NODE)
    yield
    try:
        run = playbook("deploy_a3.yml", inventory=INVENTORY)
        assert run.rc == 0, run.output
    finally:
        if not was_there:
            lab("down", "--hardware", "a3")


def on_node(command, given=""):
    """What a command prints on the node; *given* is its stdin."""
    ran = subprocess.run(
        [sys.executable, str(ROOT / "lab" / "lab"), "ssh", NODE, command],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ran.stdout


class Watch(threading.Thread):
    """Looks for the canaries in the command lines of all processes, those of the node among them, while something runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.found = set()
        self.looks = 0

    def run(self):
        words = [word.encode() for word in CANARIES]
        while not self.over.is_set():
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    line = Path("/proc", pid, "cmdline").read_bytes()
                except OSError:
                    continue
                if any(word in line for word in words):
                    self.found.add(line.replace(b"\0", b" ").decode("utf-8", "replace"))
            self.looks += 1
            self.over.wait(0.02)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *unused):
        self.over.set()
        self.join()


def clean(*texts):
    """None of the canaries stands in any text."""
    for text in texts:
        for word in CANARIES:
            at = text.find(word)
            assert at < 0, text[max(0, at - 500) : at + 300]


def run(name, *arguments, environment=(), expect=0):
    """A run of a playbook on the node with all that it can be made to say; nothing of it, and no process, has a secret."""
    words = ["ansible-playbook", str(ROOT / "playbooks" / name) if "/" not in name else name, "-i", str(INVENTORY)]
    with Watch() as watch:
        done = Run(
            subprocess.run(
                [*words, "-vvv", "--diff", *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=560,
                env=dict(
                    os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", **dict(environment)
                ),
                check=False,
            )
        )
    assert watch.found == set() and watch.looks > 10
    clean(done.output)
    assert (done.rc == 0) == (expect == 0), done.output[-6000:]
    return done


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    """A function that writes variables to an encrypted file: the arguments that give it to a run."""
    folder = tmp_path_factory.mktemp("vault")
    password = folder / "password"
    password.write_text(uuid.uuid4().hex)

    def write(name, data):
        path = folder / name
        path.write_text(json.dumps(data))
        subprocess.run(
            ["ansible-vault", "encrypt", "--vault-password-file", password, path], check=True, capture_output=True
        )
        return ["-e", f"@{path}", "--vault-password-file", password]

    return write


@pytest.fixture(scope="module")
def secrets(vault):
    return vault("secrets.yml", {"vllm_service_secrets": {"VLLM_API_KEY": KEY, "HF_TOKEN": TOKEN}})


def ask(url, key="", ca_file=None, body=CHAT):
    """The status of a request, or the name of what went wrong with it."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), headers)
    context = ssl.create_default_context(cafile=ca_file)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return type(getattr(error, "reason", error)).__name__


# -- secrets --------------------------------------------------------------------------------------------------------


def test_a_deploy_with_secrets_says_none(secrets):
    done = run("deploy_a3.yml", *secrets)
    assert "HF_TOKEN=********" in done.output
    assert ask(f"http://{ADDRESS}:8000") == 401 and ask(f"http://{ADDRESS}:8000", KEY) == 200


def test_a_second_deploy_changes_nothing(secrets):
    assert run("deploy_a3.yml", *secrets).changed[NODE] == 0


def test_on_the_node_a_secret_is_in_its_file_and_in_the_service_alone():
    given = "\n".join(CANARIES) + "\n"
    files = on_node(f"grep -rlaF -f - {LOOK_IN} 2>/dev/null", given).split()
    kept = re.compile(
        re.escape(FOLDER) + r"/secrets\.env$|/var/lib/ascend-vllm/vllm-ascend/revisions/[^/]+/secrets\.env$"
    )
    assert FOLDER + "/secrets.env" in files and [path for path in files if not kept.match(path)] == []
    for path in files:
        assert on_node(f"stat -c '%a %U' {path}").split() == ["600", "root"], path
    modes = dict(line.split()[::-1] for line in on_node(f"stat -c '%a %n' {FOLDER}/*").splitlines())
    assert modes[FOLDER + "/launch.sh"] == "755" and modes[FOLDER + "/service.env"] == "600"
    # As they are read: grep in a journal's own files may miss what is split or compressed.
    clean(
        on_node("ps auxww"),
        on_node("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'"),
        on_node("docker inspect vllm-ascend; docker image inspect $(docker inspect -f '{{.Image}}' vllm-ascend)"),
        on_node("docker logs vllm-ascend 2>&1"),
        on_node("docker events --since 24h --until 0s; docker info --format '{{json .}}'"),
        on_node("journalctl --no-pager --output=export"),
    )
    # In an environment it is that of the container's own processes.
    holders = on_node(
        "cat > /dev/shm/words; for pid in /proc/[0-9]*; do "
        "grep -qaF -f /dev/shm/words $pid/environ 2>/dev/null && cat $pid/cgroup | tr '\\n' ' ' && echo; done; "
        "rm /dev/shm/words",
        given,
    ).splitlines()
    container = on_node("docker inspect -f '{{.Id}}' vllm-ascend").strip()
    assert holders and all(container in line for line in holders)


def test_nothing_is_left_behind():
    assert on_node("ls -A /root/.ansible/tmp 2>/dev/null; ls -A /root/.docker 2>/dev/null") == ""
    assert on_node("find /tmp /run /var/tmp -name '*nsiball*' -o -name 'ascend-vllm-login-*'") == ""
    assert on_node("find /root/.ansible_async -type f 2>/dev/null") == ""


@pytest.mark.parametrize("name", ["plan.yml", "preflight.yml", "status.yml", "verify.yml"])
def test_other_runs_say_none(name, secrets, tmp_path):
    done = run(
        name,
        *secrets,
        *("-e", f"vllm_plan_file={tmp_path}/plan.json"),
        *("-e", f"npu_preflight_report={tmp_path}/report.json", "-e", f"npu_preflight_save_facts={tmp_path}/facts"),
        *("-e", f"vllm_status_file={tmp_path}/status.json"),
        environment={"ANSIBLE_PIPELINING": "False"},  # then modules and their arguments go through files on the node
    )
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    clean(*(path.read_text() for path in written))
    if name == "plan.yml":
        assert "secrets: HF_TOKEN, VLLM_API_KEY (vllm_service_secrets)" in done.output
        assert json.loads((tmp_path / "plan.json").read_text())[0]["secrets"] == ["HF_TOKEN", "VLLM_API_KEY"]
    if name == "preflight.yml":
        assert len(written) == 2
    assert on_node("ls -A /root/.ansible/tmp 2>/dev/null") == ""


@pytest.mark.parametrize(
    "given, says", [({}, "an API key, and none was given"), ({"VLLM_API_KEY": NEXT_KEY}, "another API key")]
)
def test_a_wrong_key_has_a_verdict(given, says, vault):
    done = run("verify.yml", *vault("wrong.yml", {"vllm_service_secrets": given}), expect=1)
    assert f"HTTP 401: the service wants {says}" in done.words
    assert "VLLM_API_KEY in vllm_service_secrets" in done.words


def test_starting_with_a_wrong_key_does_not_wait(vault):
    begin = time.monotonic()
    done = run("start.yml", *vault("wrong.yml", {"vllm_service_secrets": {"VLLM_API_KEY": NEXT_KEY}}), expect=1)
    assert time.monotonic() - begin < 60
    assert "HTTP 401: the service wants another API key" in done.words


def test_a_changed_secret_is_a_change_that_shows_none(vault, tmp_path):
    """With single values from a vault, as encrypt_string makes them."""
    password = tmp_path / "password"
    password.write_text("x")
    path = tmp_path / "vars.yml"
    lines = ["vllm_service_secrets:"]
    for name, value in (("VLLM_API_KEY", NEXT_KEY), ("HF_TOKEN", TOKEN)):
        words = ["ansible-vault", "encrypt_string", "--vault-password-file", password, "--stdin-name", name]
        made = subprocess.run(words, input=value, capture_output=True, text=True, check=True).stdout
        lines += ["  " + line for line in made.splitlines()]
    path.write_text("\n".join(lines) + "\n")
    given = ["-e", f"@{path}", "--vault-password-file", password]
    asked = run("deploy_a3.yml", *given, "--check")
    assert asked.changed[NODE] > 0 and ask(f"http://{ADDRESS}:8000", KEY) == 200
    run("deploy_a3.yml", *given)
    assert ask(f"http://{ADDRESS}:8000", KEY) == 401 and ask(f"http://{ADDRESS}:8000", NEXT_KEY) == 200
    assert run("deploy_a3.yml", *given).changed[NODE] == 0


@pytest.mark.parametrize(
    "given, says",
    [
        (
            {"vllm_service_secrets": {"VLLM_API_KEY": KEY + "\n"}},
            "vllm_service_secrets.VLLM_API_KEY is empty or holds a line",
        ),
        (
            {"vllm_service_secrets": {KEY: "x"}},
            "vllm_service_secrets holds a name that no environment variable can have",
        ),
        ({"vllm_service_secrets": [KEY]}, "vllm_service_secrets is no mapping"),
    ],
)
def test_secrets_that_are_refused_are_not_shown(given, says, vault):
    assert says in run("plan.yml", *vault("refused.yml", given), expect=1).words


# -- a registry that wants a login ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A registry on this machine that lets one user in, with one tiny image."""
    if not shutil.which("docker-registry"):
        subprocess.run(["apt-get", "update", "--quiet"], check=True)
        subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", "docker-registry"], check=True)
    folder = tmp_path_factory.mktemp("registry")
    salt = "$2y$05$" + uuid.uuid4().hex[:22]
    hashed = subprocess.run(
        ["perl", "-e", "print crypt(<STDIN>, $ARGV[0])", salt],
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (folder / "htpasswd").write_text(f"robot:{hashed}\n")
    config = folder / "config.json"
    config.write_text(
        json.dumps(
            {
                "version": "0.1",
                "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                "http": {"addr": REGISTRY},
                "auth": {"htpasswd": {"realm": "lab", "path": str(folder / "htpasswd")}},
            }
        )
    )
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    image = REGISTRY + "/ascend/private:v1"
    try:
        for _ in range(50):
            if ask(f"http://{REGISTRY}") in (401, 404):
                break
            time.sleep(0.2)
        on_node(
            f"export DOCKER_CONFIG=$(mktemp -d); docker login --username robot --password-stdin {REGISTRY}; "
            f"tar -C /etc -c hostname | docker import - {image}; docker push -q {image}; docker rmi {image}; "
            "rm -r $DOCKER_CONFIG",
            PASSWORD,
        )
        yield image
    finally:
        process.terminate()
        process.wait(20)
        on_node(f"docker rmi --force {image}")


@pytest.fixture
def have_image(registry, tmp_path, vault):
    """A function that lets the node have the private image, as the role npu_container does."""
    role = ROOT / "roles" / "npu_container"
    (task,) = [
        task
        for path in (role / "tasks").glob("*.yml")
        for task in yaml.safe_load(path.read_text())
        if "ascend_ops.vllm.vllm_image" in task
    ]
    variables = {
        **yaml.safe_load((role / "defaults" / "main.yml").read_text()),
        "vllm_recipe_process": {"container": {"image": registry}},
        "npu_preflight_node": {"facts": {"engine": {"image": None}}},
    }
    book = tmp_path / "image.yml"
    book.write_text(json.dumps([{"hosts": "a3", "gather_facts": False, "vars": variables, "tasks": [task]}]))

    def have(login, expect=0):
        given = vault("login.yml", {"npu_container_registry_login": login, "npu_container_image_archive": ""})
        done = run(str(book), *given, expect=expect)
        assert on_node("ls -A /root/.docker 2>/dev/null; find /run /tmp -name 'ascend-vllm-login-*'") == ""
        return done

    return have


LOGIN = {"registry": REGISTRY, "username": "robot", "password": PASSWORD}


def test_a_registry_that_wants_a_login(have_image, registry):
    assert "npu_container_registry_login" in have_image({}, expect=1).words
    wrong = have_image(dict(LOGIN, password=KEY), expect=1)
    assert f"the registry {REGISTRY} refuses the user 'robot': user name or password is wrong" in wrong.words
    done = have_image(LOGIN)
    assert done.changed[NODE] == 1
    assert registry in on_node("docker images --format '{{.Repository}}:{{.Tag}}'")
    given = "\n".join(CANARIES) + "\n"
    left = on_node(f"grep -rlaF -f - {LOOK_IN} 2>/dev/null", given).split()
    assert [path for path in left if not path.endswith("/secrets.env")] == []


# -- https and the address ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def authority(pki):
    return pki.authority()


def put(pems, authority):
    """Certificate, key and authority on the node: the input that names them."""
    on_node(f"mkdir -p {TLS}")
    for name, path in (("cert.pem", pems[0]), ("key.pem", pems[1]), ("ca.pem", authority[0])):
        on_node(f"umask 077; cat > {TLS}/{name}", Path(path).read_text())
    return {"certificate": f"{TLS}/cert.pem", "key": f"{TLS}/key.pem", "ca": f"{TLS}/ca.pem"}


def verdict(name, tmp_path, *arguments):
    """What preflight says of one thing on the node."""
    path = tmp_path / "report.json"
    playbook("preflight.yml", "-e", f"npu_preflight_report={path}", *map(str, arguments), inventory=INVENTORY)
    (report,) = json.loads(path.read_text())
    return [check for check in report["nodes"][0]["checks"] if check["id"] == name][0]


@pytest.mark.parametrize(
    "case, word, says",
    [
        ("good", "pass", "more days"),
        ("expired", "fail", "expired"),
        ("soon", "warn", "valid for 4 more days"),
        ("other address", "fail", "not valid for '10.213.0.51'"),
        ("other key", "fail", "mismatch"),
        ("no file", "fail", f"{TLS}/cert.pem: No such file"),
    ],
)
def test_a_certificate_is_checked_before_anything_is_changed(case, word, says, pki, authority, tmp_path):
    address = "10.213.0.99" if case == "other address" else ADDRESS
    pems = pki.signed(authority, address, {"expired": -1, "soon": 5}.get(case, 99))
    if case == "other key":
        pems = (pems[0], pki.signed(authority, address)[1])
    given = put(pems, authority)
    if case == "no file":
        on_node(f"rm {TLS}/cert.pem")
    seen = verdict("tls.certificate", tmp_path, "-e", json.dumps({"vllm_recipe_tls": given}))
    assert seen["verdict"] == word and says in seen["seen"], seen
    assert seen["remedy"] or word == "pass"


def test_an_address_that_the_node_does_not_carry_is_refused(tmp_path):
    seen = verdict("network.listen", tmp_path, "-e", "vllm_recipe_listen=10.213.0.99")
    assert seen["verdict"] == "fail" and ADDRESS in seen["seen"] and "vllm_recipe_listen" in seen["remedy"]
    assert verdict("network.listen", tmp_path, "-e", "vllm_recipe_listen=node")["verdict"] == "pass"


def served():
    """The addresses at which the node listens on the API's port."""
    return {line.split()[3] for line in on_node("ss -Hltn 'sport = :8000'").splitlines()}


def test_https_with_a_key_at_one_address(secrets, pki, authority):
    given = put(pki.signed(authority, ADDRESS), authority)
    arguments = [*secrets, "-e", json.dumps({"vllm_recipe_tls": given, "vllm_recipe_listen": "node"})]
    run("deploy_a3.yml", *arguments)
    url = f"https://{ADDRESS}:8000"
    assert ask(url, KEY, authority[0]) == 200
    assert ask(url, "", authority[0]) == ask(url, "no", authority[0]) == 401
    assert ask(url, KEY) == "SSLCertVerificationError"
    assert ask(url.replace("https", "http"), KEY) in ("RemoteDisconnected", "ConnectionResetError", "BadStatusLine")
    assert served() == {f"{ADDRESS}:8000"}
    assert on_node("curl -sk https://127.0.0.1:8000/health; echo $?") == "7\n"
    assert run("verify.yml", *arguments).changed[NODE] == 0
    assert run("deploy_a3.yml", *arguments).changed[NODE] == 0


def test_a_renewed_certificate_is_served_after_a_deploy(secrets, pki, authority):
    pems = pki.signed(authority, ADDRESS, 50)
    given = put(pems, authority)
    arguments = [*secrets, "-e", json.dumps({"vllm_recipe_tls": given, "vllm_recipe_listen": "node"})]

    def serves_it():
        served_one = ssl.get_server_certificate((ADDRESS, 8000))
        return served_one.split() == Path(pems[0]).read_text().split()

    assert not serves_it()
    assert run("deploy_a3.yml", *arguments).changed[NODE] > 0
    assert serves_it()


def test_without_secrets_and_https_it_is_as_before():
    done = run("deploy_a3.yml")
    assert "secrets.env" in done.output
    on_node(f"rm -r {TLS}")
    assert ask(f"http://{ADDRESS}:8000") == 200 and served() == {"0.0.0.0:8000"}
    assert not {"secrets.env", "watched.sha256"} & set(on_node(f"ls -A {FOLDER}").split())
    assert run("deploy_a3.yml").changed[NODE] == 0
