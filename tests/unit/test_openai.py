"""Proofs of life against a real HTTP server on loopback: only tokens count."""

import contextlib
import http.server
import json
import ssl
import threading
import time

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._common.openai import TOOL, Client
from certificates import Pki

NAME = TOOL["function"]["name"]


@pytest.fixture
def pki(tmp_path):
    return Pki(tmp_path)


def completion(content="Hello", tokens=3, reason="stop", **message):
    return {
        "choices": [{"message": dict(role="assistant", content=content, **message), "finish_reason": reason}],
        "usage": {"completion_tokens": tokens},
    }


def call(name=NAME):
    return completion("", 5, "tool_calls", tool_calls=[{"function": {"name": name, "arguments": "{}"}}])


@contextlib.contextmanager
def serving(answer, pems=None):
    """A server whose *answer(path, body)* gives (status, JSON or bytes), or seconds to stay silent; https with *pems*."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            asked.append((self.path, body, dict(self.headers)))
            said = answer(self.path, body)
            if isinstance(said, float):
                time.sleep(said)
                return
            status, data = said
            data = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data) + (7 if data.endswith(b"CUT") else 0)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_arguments: None  # a client that does not trust the certificate leaves
    if pems:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pems)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield "{0}://127.0.0.1:{1}/".format("https" if pems else "http", server.server_port), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(proof, answer, **options):
    """The verdict of a proof, whose form is looked at."""
    with serving(answer) as (url, asked):
        verdict = getattr(Client(url, "minimax25", **dict({"timeout": 5}, **options)), proof)()
    assert verdict["id"] == "service." + proof
    assert verdict["seen"] and verdict["wanted"] and bool(verdict["remedy"]) == (verdict["verdict"] != "pass")
    return verdict, asked


# (proof, what the server says, verdict, what is seen)
ANSWERS = [
    ("models", (200, {"data": [{"id": "minimax25"}]}), "pass", "serves minimax25"),
    ("models", (200, {"data": [{"id": "other"}, {"id": "third"}]}), "fail", "serves other, third"),
    ("models", (200, {"data": []}), "fail", "serves nothing"),
    ("models", (200, {"data": None}), "fail", "serves nothing"),
    ("models", (200, {"data": ["minimax25"]}), "fail", "serves nothing"),
    ("models", (200, ["minimax25"]), "fail", "serves nothing"),
    ("models", (200, None), "fail", "serves nothing"),
    ("models", (401, {"error": "Unauthorized"}), "fail", "HTTP 401: the service wants an API key, and none was given"),
    ("chat", (401, {"error": "Unauthorized"}), "fail", "HTTP 401: the service wants an API key, and none was given"),
    ("models", (403, b"no"), "fail", "HTTP 403: no"),
    ("chat", (200, completion()), "pass", "3 tokens, finish reason stop"),
    ("chat", (200, completion(reason="length", tokens=16)), "pass", "16 tokens, finish reason length"),
    ("chat", (200, completion(None, reasoning="thinking")), "pass", "3 tokens, finish reason stop"),
    ("chat", (200, completion(None, reasoning_content="thinking")), "pass", "3 tokens, finish reason stop"),
    ("chat", (200, completion("", 0)), "fail", "0 tokens, finish reason stop"),
    ("chat", (200, completion("Hel", 1, "abort")), "fail", "1 tokens, finish reason abort"),
    ("chat", (200, completion(reason=None)), "fail", "3 tokens, finish reason None"),
    ("chat", (500, {"error": {"message": "EngineCore encountered an issue"}}), "fail", "HTTP 500: "),
    ("chat", (503, b"Service Unavailable"), "fail", "HTTP 503: Service Unavailable"),
    ("chat", (404, b"x" * 1000), "fail", "HTTP 404: " + "x" * 300),
    ("chat", (500, b"half a pageCUT"), "fail", "HTTP 500: (no text)"),
    ("chat", (200, b"half an answerCUT"), "fail", "IncompleteRead"),
    ("chat", (200, b"<html>a proxy</html>"), "fail", "JSONDecodeError"),
    ("chat", (200, b"\xff\xfe"), "fail", "JSONDecodeError"),
    ("chat", (200, {}), "fail", "0 tokens"),
    ("chat", (200, {"choices": [], "usage": {"completion_tokens": 3}}), "fail", "0 tokens"),
    ("chat", (200, {"choices": [{"message": None}], "usage": {"completion_tokens": 3}}), "fail", "0 tokens"),
    ("chat", (200, {"choices": ["x"], "usage": {"completion_tokens": 3}}), "fail", "0 tokens"),
    ("chat", (200, dict(completion(), usage=None)), "fail", "0 tokens"),
    ("chat", (200, dict(completion(), usage={"completion_tokens": "many"})), "fail", "0 tokens"),
    ("chat", (200, []), "fail", "0 tokens"),
    ("tool_call", (200, call()), "pass", "left to the model: called " + NAME),
    ("tool_call", (200, completion("It rains.")), "fail", "left to the model: no call; demanded: no call"),
    ("tool_call", (200, call("other")), "fail", "left to the model: called other; demanded: called other"),
    ("tool_call", (400, b"requires --enable-auto-tool-choice"), "fail", "left to the model: HTTP 400: requires"),
    ("tool_call", (200, {"choices": [{"message": None}]}), "fail", "left to the model: no call; demanded: no call"),
    ("tool_call", (200, completion(tool_calls=7)), "fail", "left to the model: no call; demanded: no call"),
]


@pytest.mark.parametrize("proof, said, verdict, seen", ANSWERS)
def test_answer(proof, said, verdict, seen):
    found, _asked = ask(proof, lambda path, body: said)
    assert found["verdict"] == verdict
    assert found["seen"].startswith(seen), found["seen"]


def test_chat_tells_text_tokens_and_seconds_and_asks_for_the_model():
    found, asked = ask("chat", lambda path, body: (200, completion("I am MiniMax.")))
    assert (found["text"], found["tokens"]) == ("I am MiniMax.", 3) and 0 <= found["seconds"] < 5
    ((path, body, headers),) = asked
    assert path == "/v1/chat/completions" and body["model"] == "minimax25" and body["max_tokens"] == 16
    assert "Authorization" not in headers


def test_an_api_key_is_sent():
    _found, asked = ask("models", lambda path, body: (200, {"data": [{"id": "minimax25"}]}), api_key="secret")
    assert asked[0][0] == "/v1/models" and asked[0][2]["Authorization"] == "Bearer secret"


def test_another_api_key_is_told_from_other_failures():
    with serving(lambda path, body: (401, {"error": "Unauthorized"})) as (url, _asked):
        client = Client(url, "m", 5, "not-this-one")
        verdict = client.models()
    assert verdict["seen"] == "HTTP 401: the service wants another API key" and client.refused
    assert "VLLM_API_KEY in vllm_service_secrets" in verdict["remedy"] and "not-this-one" not in str(verdict)
    with serving(lambda path, body: (503, b"starting")) as (url, _asked):
        client = Client(url, "m", 5)
        client.chat()
    assert not client.refused


# -- https ----------------------------------------------------------------------------------------------------------


def https(pems, ca_file, name="127.0.0.1", models=lambda path, body: (200, {"data": [{"id": "m"}]})):
    """What a client says of a real https server with a certificate."""
    with serving(models, pems) as (url, _asked):
        client = Client(url.replace("127.0.0.1", name), "m", 5, None, ca_file)
        verdict = client.models()
    return verdict, client.refused


def test_a_self_signed_certificate_is_verified_with_itself(pki):
    pems = pki.self_signed("127.0.0.1")
    assert https(pems, pems[0])[0]["verdict"] == "pass"


def test_a_signed_certificate_is_verified_with_its_authority_or_with_itself(pki):
    authority = pki.authority()
    pems = pki.signed(authority, "127.0.0.1")
    assert https(pems, authority[0])[0]["verdict"] == "pass"
    assert https(pems, pems[0])[0]["verdict"] == "pass"


@pytest.mark.parametrize(
    "case, says",
    [
        ("other address", "IP address mismatch"),
        ("other authority", "verify failed"),
        ("no authority", "verify failed"),
        ("expired", "expired"),
        ("no file", "cannot verify with /nowhere/ca.pem: "),
        ("no certificate", "cannot verify with "),
    ],
)
def test_what_is_not_verified_is_refused(case, says, pki, tmp_path):
    authority = pki.authority()
    pems = pki.signed(
        authority, "192.0.2.1" if case == "other address" else "127.0.0.1", days=-1 if case == "expired" else 9
    )
    ca_file = {
        "other authority": pki.authority()[0],
        "no authority": "",
        "no file": "/nowhere/ca.pem",
        "no certificate": pems[1],
    }.get(case, authority[0])
    verdict, refused = https(pems, ca_file)
    assert verdict["verdict"] == "fail" and says in verdict["seen"], verdict
    assert refused and "tls.certificate" in verdict["remedy"]


def test_plain_http_to_an_https_server(pki):
    pems = pki.self_signed("127.0.0.1")
    with serving(lambda path, body: (200, {}), pems) as (url, asked):
        verdict = Client(url.replace("https", "http"), "m", 5).models()
    assert verdict["verdict"] == "fail" and asked == []


def test_a_model_that_declines_is_made_to_call():
    def answer(path, body):
        return 200, completion("It rains.") if body["tool_choice"] == "auto" else call()

    found, asked = ask("tool_call", answer)
    assert found["verdict"] == "pass"
    assert found["seen"] == "left to the model: no call; demanded: called " + NAME
    assert [body["tool_choice"] for _path, body, _headers in asked] == [
        "auto",
        {"type": "function", "function": {"name": NAME}},
    ]
    assert all(body["tools"] == [TOOL] for _path, body, _headers in asked)


def test_an_error_after_a_declined_call_fails():
    found, _asked = ask(
        "tool_call", lambda path, body: (200, completion("No.")) if body["tool_choice"] == "auto" else (500, b"died")
    )
    assert (found["verdict"], found["seen"]) == ("fail", "left to the model: no call; demanded: HTTP 500: died")


@pytest.mark.parametrize("proof", ["models", "chat", "tool_call"])
def test_a_server_that_hangs_is_left_in_time(proof):
    start = time.monotonic()
    found, _asked = ask(proof, lambda path, body: 1.5, timeout=0.3)
    assert time.monotonic() - start < 3
    assert found["verdict"] == "fail" and "no answer within 0.3 s" in found["seen"]


def test_a_server_that_hangs_up():
    found, _asked = ask("chat", lambda path, body: 0.0)
    assert found["verdict"] == "fail" and "RemoteDisconnected" in found["seen"]


def test_nobody_listens():
    with serving(lambda path, body: (200, {})) as (url, _asked):
        pass
    found = Client(url, "m", 2).chat()
    assert found["verdict"] == "fail" and "Connection refused" in found["seen"]


def test_the_proxy_of_the_node_is_not_asked(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert ask("chat", lambda path, body: (200, completion()))[0]["verdict"] == "pass"
