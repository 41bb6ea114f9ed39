"""Proofs of life against a real HTTP server on loopback: only tokens count."""

import contextlib
import http.server
import json
import threading
import time

import pytest
from ansible_collections.ascend_ops.vllm.plugins.module_utils._openai import TOOL, Client

NAME = TOOL["function"]["name"]


def completion(content="Hello", tokens=3, reason="stop", **message):
    return {
        "choices": [{"message": dict(role="assistant", content=content, **message), "finish_reason": reason}],
        "usage": {"completion_tokens": tokens},
    }


def call(name=NAME):
    return completion("", 5, "tool_calls", tool_calls=[{"function": {"name": name, "arguments": "{}"}}])


@contextlib.contextmanager
def serving(answer):
    """A server whose *answer(path, body)* gives (status, JSON or bytes), or seconds to stay silent."""
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
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield "http://127.0.0.1:{0}/".format(server.server_port), asked
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
    ("models", (401, {"error": "Unauthorized"}), "fail", 'HTTP 401: {"error": "Unauthorized"}'),
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
