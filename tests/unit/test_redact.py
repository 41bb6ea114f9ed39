"""Secrets go, in every spelling; innocent text stays to the letter."""

import base64
import json
import re
import shlex
import time
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.redact import (
    MARK,
    Redactor,
    is_secret,
    names_only,
    parse_environment,
    secret_name,
)

HERE = Path(__file__).parent
CANARY = 'c4nary/Sw+rd=fish "9" it\'s'
SIMPLE = "canary0Sw0rdfish"
BODY = "MIIEpAIBAAKCAQEAx4nary7PZb0l5c3Qk0uAbCdEfGhIjKlMnOpQrStUvWxYz012"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n{BODY}\nabcd0123456789ABCDEF==\n-----END RSA PRIVATE KEY-----"


def hidden(text, secret=SIMPLE):
    """The text as redacted; the secret is not in it."""
    result = Redactor().text(text)
    assert secret not in result, result
    assert MARK in result, result
    return result


# -- known values ---------------------------------------------------------------------------------------------------


def b64(text):
    return base64.b64encode(text.encode()).decode()


def decoded(text):
    """What base64 says, wherever it may begin."""
    for run in re.findall("[A-Za-z0-9+/_-]{4,}", text):
        for start in range(4):
            part = run[start:].translate({ord("-"): "+", ord("_"): "/"})
            yield base64.b64decode(part[: len(part) // 4 * 4])


SPELLED = {
    "plain": lambda value: value,
    "url": lambda value: quote(value, safe=""),
    "url, slash kept": quote,
    "url, lower case": lambda value: (
        quote(value, safe="").replace("%2F", "%2f").replace("%3D", "%3d").replace("%2B", "%2b")
    ),
    "form": quote_plus,
    "json": json.dumps,
    "json in json": lambda value: json.dumps(json.dumps({"x": value})),
    "shell": shlex.quote,
    "python": repr,
    "base64": b64,
    "base64, url alphabet": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "base64 of a line": lambda value: b64(value + "\n"),
    "base64 of user:password": lambda value: b64("user:" + value),
    "base64 one further": lambda value: b64("users:" + value + ":more"),
    "base64 two further": lambda value: b64("users2:" + value + ":more"),
    "hex": lambda value: value.encode().hex(),
    "among letters": lambda value: "abc" + value + "def",
    "twice": lambda value: value + value,
}


@pytest.mark.parametrize("value", [CANARY, SIMPLE, "sechs6", "schlüssel-ü1"])
@pytest.mark.parametrize("spelled", SPELLED)
def test_a_known_value_goes_in_every_spelling(spelled, value):
    text = SPELLED[spelled](value)
    result = Redactor([value]).known_values("it said " + text + " there")
    assert MARK in result
    assert result.startswith("it said ") and result.endswith(" there")
    for plain in (value, text.strip("\"'")):
        assert plain not in result
    assert value.encode()[1:5] not in b"".join(decoded(result))


def test_the_longest_value_goes_first():
    assert Redactor(["swordfish", "swordfish-and-more"]).text("a swordfish-and-more b") == "a " + MARK + " b"


def test_short_values_are_counted_and_only_taken_out_beside_their_name():
    redactor = Redactor(["abc", "", None, "abcdef"])
    assert (redactor.too_short, redactor.known) == (1, 1)
    assert redactor.text("abc is a word; API_KEY=abc") == "abc is a word; API_KEY=" + MARK


def test_each_line_of_a_known_key_goes():
    assert Redactor([PEM]).known_values("Nov 25 node sshd[1]: " + BODY) == "Nov 25 node sshd[1]: " + MARK


# -- what only looks like a secret ----------------------------------------------------------------------------------

LEAKS = [
    "Authorization: Bearer {}",
    "authorization: bearer {}",
    '"Authorization": "Bearer {}"',
    "{{'Authorization': 'Bearer {}'}}",
    "curl -H 'Authorization: Bearer {}' http://x",
    "Authorization: Basic {}",
    "Authorization: {}",
    "the header was Bearer {} and",
    "X-API-Key: {}",
    "vllm serve /models/x --api-key {} --port 8000",
    "vllm serve /models/x --api-key={} --port 8000",
    "--api-key '{}'",
    '"--api-key", "{}"',
    '"--api-key",\n    "{}",\n',
    "['--api-key', '{}']",
    "- --api-key\n- {}\n",
    "--hf-token {}",
    "--ssl-keyfile-password {}",
    "vllm\0serve\0--api-key\0{}\0--port",
    "VLLM_API_KEY={}",
    "export VLLM_API_KEY={}",
    "VLLM_API_KEY='{}'",
    'VLLM_API_KEY="{}"',
    "VLLM_API_KEY = {}",
    "HF_TOKEN={} vllm serve",
    "env HF_TOKEN={}, A=b",
    '"Env": ["VLLM_API_KEY={}", "A=b"]',
    '\\"VLLM_API_KEY={}\\"',
    'Environment="MODELSCOPE_API_TOKEN={}" A=b',
    "VLLM_API_KEY: {}",
    "  api_key: {}",
    "  vllm_api_key: '{}'",
    '"api_key": "{}"',
    '\\"api_key\\": \\"{}\\"',
    "'api_key': ['{}']",
    "'api_key': ['other', '{}'], 'port': 1",
    '"api_keys": [\n  "{}"\n]',
    "Namespace(api_key='{}', port=1)",
    "apiKey: {}",
    "clientSecret={}",
    "db_password={}",
    "PGPASSWORD={}",
    "MINIO_ACCESSKEY={}",
    "AWS_SECRET_ACCESS_KEY={}",
    "my-token: {}",
    "token={}",
    '"token": "{}"',
    "registry.example.com/?token={}&a=b",
    "https://x/y?key={}",
    "password is not password={};",
    "http://user:{}@proxy.example.com:3128",
    "HTTP_PROXY=http://user:{}@proxy:3128/",
    "ftp://u:{}@host/",
    "https://{}@github.com/x",
    "hf_{}",
    "using hf_{}.",
    "sk-{}",
]


@pytest.mark.parametrize("text", LEAKS)
def test_what_looks_like_a_secret_goes(text):
    before = "INFO all is well\n"
    result = hidden(before + text.format(SIMPLE))
    assert result.startswith(before)
    assert Redactor().text(result) == result, "redacting twice changes nothing"


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("vllm serve --api-key abc --port 8000 -x", "vllm serve --api-key [redacted] --port 8000 -x"),
        ('{"HF_TOKEN": "abc def", "port": 8000}', '{"HF_TOKEN": "[redacted]", "port": 8000}'),
        ('"Env": ["API_KEY=a b,c", "A=b"]', '"Env": ["API_KEY=[redacted]", "A=b"]'),
        ("Namespace(api_key='a', port=8000)", "Namespace(api_key='[redacted]', port=8000)"),
        ("Namespace(api_key=a, port=8000)", "Namespace(api_key=[redacted], port=8000)"),
        ("API_KEY='it'\"'\"'s'\nPORT=1\n", "API_KEY='[redacted]'\nPORT=1\n"),
        ('API_KEY="a\\"b"\nPORT=1\n', 'API_KEY="[redacted]"\nPORT=1\n'),
        ("API_KEY=a b c\nPORT=1\n", "API_KEY=[redacted]\nPORT=1\n"),
        ("password: correct horse\nport: 1\n", "password: [redacted]\nport: 1\n"),
        ("API_KEY=12345678", "API_KEY=[redacted]"),
        ("http://me:pass@word@host:1/x?y=z@w", "http://me:[redacted]@host:1/x?y=z@w"),
        ("'api_key': ['a1', 'b'], 'port': 1", "'api_key': [redacted], 'port': 1"),
    ],
)
def test_what_stands_beside_a_secret_stays(text, wanted):
    assert Redactor().text(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        "a\n" + PEM + "\nb",
        json.dumps(PEM),
        PEM.rpartition("\n")[0],
        PEM.partition("\n")[2],
        "\n".join("Nov 25 02:14:38 node x[1]: " + line for line in PEM.splitlines()),
        PEM.replace("RSA ", ""),
    ],
)
def test_private_keys_go_whole_or_cut(text):
    result = Redactor().text(text)
    assert "x4nary7PZb0" not in result and "abcd0123456789" not in result and MARK in result


INNOCENT = """\
num_tokens: 5
max_tokens=16, min_tokens=0, skip_special_tokens=True, stop_token_ids=[], logprobs=None, prompt_token_ids: [1, 2],
Avg prompt throughput: 1.6 tokens/s, Avg generation throughput: 1.6 tokens/s, Running: 1 reqs, GPU KV cache usage: 0.1%
vllm serve /models/MiniMax-M2.5 --max-num-batched-tokens 32768 --tokenizer /models/x --tokenizer-mode auto
--reasoning-parser minimax_m2 --enable-auto-tool-choice
tokenizer='/models/MiniMax-M2.5', tokenizer_mode=auto, tokenizer_revision=None, trust_remote_code=True
TOKENIZERS_PARALLELISM=false
TOKENIZER_MODE=auto
VLLM_MOE_DP_CHUNK_TOKENS=131072
VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE=163840
"num_key_value_heads": 8, "eos_token_id": 2, "bos_token": "<s>", "eos_token": "[e~[", "pad_token": "x0y1z2w3",
{'api_key': None, 'hf_token': None, 'ssl_keyfile': '/etc/tls/server0.key', 'served_model_name': ['minimax25']}
ssl-keyfile: /etc/ascend-vllm/tls/key0.pem
key: /etc/tls/private/server0.key
SSL_KEY=/etc/tls/server0.key
KeyError: 'model.layers.0.self_attn.q_proj.weight'
ValueError: token 'abc' is unknown
Missing key(s) in state_dict: "lm_head.weight"
unexpected_key: 'model.layers.61.weight'
key: model.layers.0.weight
cache_key: 5f3759df5f3759df
Failed password for root from 10.0.0.1 port 22
-rw------- 1 root root 494 Nov 25 02:15 secrets.env
/etc/ascend-vllm/x/secrets.env: Permission denied
hf_config, hf_overrides={}, hf_text_config: x, hf_config_path=None
http://10.213.0.11:20004/v1/chat/completions ws://a:80/b@c
INFO:     10.213.0.11:54984 - "GET /v1/models HTTP/1.1" 200 OK
tcp://10.213.0.11:2347
root@a2-node1:~# ssh root@10.0.0.1
vllm-ascend@sha256:0f1e2d3c4b5a69788796 task-0123456789abcdef0 disk-0123456789abcdef
time_per_output_token: 12.5ms, tpot (time per output token): 3
prefix_caching_hash_algo='sha256', kv_cache_dtype=auto, block_size=128
-----BEGIN CERTIFICATE-----
MIIEpAIBAAKCAQEAx4nary7PZb0l5c3Qk0uMIIEpAIBAAKCAQEAx4nary7PZb0l5c3Qk0u
-----END CERTIFICATE-----
tls switch[0](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset)
docker login --username me --password-stdin registry
monkey_patch: on
"""


@pytest.mark.parametrize("line", INNOCENT.splitlines())
def test_innocent_text_stays(line):
    assert Redactor().text(line) == line


def test_real_outputs_stay_as_they_are():
    files = [path for folder in ("npu-smi", "hccn", "logs") for path in sorted((HERE / "fixtures" / folder).rglob("*"))]
    texts = [path.read_text(errors="replace") for path in files if path.is_file()]
    assert len(texts) > 20
    for text in texts:
        assert Redactor().text(text) == text


def test_innocent_text_stays_as_a_whole():
    assert Redactor([CANARY]).text(INNOCENT) == INNOCENT


@pytest.mark.parametrize(
    "name, sure",
    [
        ("VLLM_API_KEY", 2),
        ("--api-key", 2),
        ("api_key", 2),
        ("clientSecret", 2),
        ("vllm.api_key", 2),
        ("token", 1),
        ("server.key", 1),
        ("num_key_value_heads", 0),
        ("max-num-batched-tokens", 0),
        ("tokenizer", 0),
        ("password_file", 0),
        ("monkey", 0),
        ("", 0),
        ("-", 0),
    ],
)
def test_names(name, sure):
    assert secret_name(name) == sure


def test_values_decide_where_a_name_does_not():
    assert is_secret("HF_TOKEN", "abc") and is_secret("token", "a1b2c3d4e5")
    assert not is_secret("token", "hello") and not is_secret("HF_TOKEN", "") and not is_secret("NUM_TOKENS", "12")


# -- data -----------------------------------------------------------------------------------------------------------


def test_data_keeps_its_shape():
    told = {
        "argv": ["vllm", "serve", "--api-key", SIMPLE, "--port", "80", "--max-num-batched-tokens", "32768"],
        "env": {"HF_TOKEN": SIMPLE, "HCCL_BUFFSIZE": "1024"},
        "list": ["API_KEY=" + SIMPLE, 5, None, True, 1.5],
        "api_key": [SIMPLE],
        "known " + CANARY: {"x": [CANARY]},
        "num_tokens": 5,
        "text": 'a "quoted" word',
    }
    result = Redactor([CANARY]).data(told)
    assert SIMPLE not in json.dumps(result) and "Sw+rd" not in json.dumps(result)
    assert result["argv"] == ["vllm", "serve", "--api-key", MARK, "--port", "80", "--max-num-batched-tokens", "32768"]
    assert result["env"] == {"HF_TOKEN": MARK, "HCCL_BUFFSIZE": "1024"}
    assert result["list"] == ["API_KEY=" + MARK, 5, None, True, 1.5] and result["api_key"] == [MARK]
    assert result["known " + MARK] == {"x": [MARK]}
    assert (result["num_tokens"], result["text"]) == (5, told["text"])


# -- environment files ----------------------------------------------------------------------------------------------


def test_environment_files_are_read_as_a_shell_does():
    text = "# one's comment\nA='x y'\nexport B=\"z\"\nC='it'\"'\"'s'\nD='two\nlines'\n"
    assert dict(parse_environment(text)) == {"A": "x y", "B": "z", "C": "it's", "D": "two\nlines"}
    assert dict(parse_environment("A='unbalanced\nB=fine\n")) == {"A": "unbalanced", "B": "fine"}
    assert names_only("A='" + SIMPLE + "'\n") == "A=[redacted]\n"


def test_it_is_quick_enough_for_large_logs():
    log = (HERE / "fixtures" / "logs" / "healthy-primary.txt").read_text()
    text = log * (4_000_000 // len(log)) + "A" * 1_000_000 + "token" * 100_000 + "key=" * 20_000 + "http://" * 20_000
    text += "token" + " " * 100_000 + "PRIVATE KEY" + ("A" * 64 + "\n") * 10_000 + "\\" * 100_000
    started = time.monotonic()
    Redactor([CANARY, SIMPLE, "another-secret"]).text(text)
    assert time.monotonic() - started < 30
