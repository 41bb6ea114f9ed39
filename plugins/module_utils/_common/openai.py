# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to a served model that verify that it works: only tokens count, never ``/health``.

Workers of a dead engine, or ones that hang, still answer ``/health`` with 200.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

# Trust a certificate of the file even where its issuer is missing. Named in ssl since Python 3.10.
PARTIAL_CHAIN = 0x80000

QUESTION = "Hello, who are you?"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get weather by city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
            "required": ["city"],
        },
    },
}


def trust(ca_file=""):
    """An SSL context that verifies certificate and name of a server with *ca_file*, else with the system's authorities."""
    context = ssl.create_default_context(cafile=ca_file or None)
    if ca_file:
        context.verify_flags |= PARTIAL_CHAIN
    return context


class Client:
    """A served model behind *url* (such as ``http://192.0.2.11:20004``).

    :param timeout: seconds that one request may take.
    :param api_key: the API key of the service, or None.
    :param ca_file: certificates that verify an https service; empty for the system's authorities.

    ``refused`` says that retries do not help: the API key is wrong, or the certificate is not trusted.
    """

    def __init__(self, url, model, timeout=60, api_key=None, ca_file=""):
        self.url = url.rstrip("/")
        self.model = model
        self.timeout = timeout
        self.api_key = api_key
        self.ca_file = ca_file
        self.refused = False

    def _headers(self):
        headers = {"Content-Type": "application/json"}
        if self.api_key:
            headers["Authorization"] = "Bearer " + self.api_key
        return headers

    def _opener(self):
        # The node's own proxy settings are for the internet, not for its own service.
        handlers = [ProxyHandler({})]
        if self.url.startswith("https:"):
            handlers.append(HTTPSHandler(context=trust(self.ca_file)))
        return build_opener(*handlers)

    def text(self, path, timeout):
        """The text of a GET request, at most *timeout* seconds; empty without an answer."""
        try:
            answer = self._opener().open(Request(self.url + path, None, self._headers()), timeout=timeout)
            return answer.read().decode("utf-8", "replace")
        except (OSError, HTTPException, ValueError):
            return ""

    def _request(self, path, body=None):
        """``(status, data, error)`` of a request; status 0 without an answer."""
        try:
            opener = self._opener()
        except (OSError, ValueError) as error:
            return 0, None, f"cannot verify with {self.ca_file}: {error}"
        data = None if body is None else json.dumps(body).encode("utf-8")
        try:
            answer = opener.open(Request(self.url + path, data, self._headers()), timeout=self.timeout)
            text = answer.read().decode("utf-8", "replace")
            return answer.getcode(), json.loads(text), ""
        except HTTPError as error:
            if error.code == 401:
                return (
                    401,
                    None,
                    "HTTP 401: the service wants {0}".format(
                        "another API key" if self.api_key else "an API key, and none was given"
                    ),
                )
            return error.code, None, f"HTTP {error.code}: {_body(error)}"
        except socket.timeout:
            return 0, None, f"no answer within {self.timeout} s"
        except URLError as error:
            return 0, None, str(error.reason)
        except (OSError, HTTPException, ValueError) as error:
            return 0, None, f"{type(error).__name__}: {error}"

    def models(self):
        """A verdict: does ``/v1/models`` list the served name?"""
        status, data, error = self._request("/v1/models")
        try:
            names = [item["id"] for item in data["data"]]
        except (KeyError, TypeError):
            names = []
        return _verdict(
            "service.models",
            self.model in names,
            error or "serves {0}".format(", ".join(map(str, names)) or "nothing"),
            f"{self.model} in /v1/models",
            self._remedy(status, error, "Compare served-model-name of the plan with what runs: deploy again."),
        )

    def max_model_len(self):
        """How many tokens a request may have, input and output, or None where the service does not say."""
        _status, data, _error = self._request("/v1/models")
        try:
            (limit,) = [item.get("max_model_len") for item in data["data"] if item["id"] == self.model]
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        return limit if isinstance(limit, int) else None

    def version(self):
        """The version of vLLM that serves, or an empty text."""
        _status, data, _error = self._request("/version")
        return str(data.get("version", "")) if isinstance(data, dict) else ""

    def _remedy(self, status, error, other):
        """The remedy for a request that was refused, else *other*."""
        key = status == 401
        certificate = "CERTIFICATE_VERIFY_FAILED" in error or error.startswith("cannot verify with")
        self.refused = key or certificate
        if key:
            return (
                "Run with the VLLM_API_KEY in vllm_service_secrets that the service was deployed with, or deploy to give it "
                "this one."
            )
        if certificate:
            return (
                "See tls.certificate of the preflight. The certificate must have this address in its subjectAltName, and "
                "vllm_recipe_tls.ca be what it is verified with. A renewed one is served after a deploy."
            )
        return other

    def chat(self, max_tokens=16):
        """A verdict: does a chat request yield tokens? With ``text``, ``tokens`` and ``seconds``."""
        start = time.time()
        status, data, error = self._request(
            "/v1/chat/completions",
            {
                "model": self.model,
                "messages": [{"role": "user", "content": QUESTION}],
                "max_tokens": max_tokens,
                "temperature": 0,
            },
        )
        text, tokens, reason = _completion(data)
        good = status == 200 and tokens > 0 and reason in ("stop", "length")
        verdict = _verdict(
            "service.chat",
            good,
            error or f"{tokens} tokens, finish reason {reason}",
            "at least one token, finished by stop or length",
            self._remedy(
                status, error, "Look at the container's log; when it says nothing, restart the whole replica."
            ),
        )
        verdict.update(text=text, tokens=tokens, seconds=round(time.time() - start, 2))
        return verdict

    def tool_call(self):
        """A verdict: does the service return a tool call? The model is free to call first, then has to, since it may decline."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": "What is the weather in Shanghai?"}],
            "tools": [TOOL],
            "tool_choice": "auto",
            "temperature": 0,
            "max_tokens": 256,
        }
        name = TOOL["function"]["name"]
        seen = []
        for choice in ("auto", {"type": "function", "function": {"name": name}}):
            body["tool_choice"] = choice
            # A demanded call proves the parser; a short one is enough.
            body["max_tokens"] = 256 if choice == "auto" else 64
            status, data, error = self._request("/v1/chat/completions", body)
            called = _called(data)
            how = "left to the model" if choice == "auto" else "demanded"
            seen.append("{0}: {1}".format(how, error or ("called " + ", ".join(called) if called else "no call")))
            if status not in (0, 200) or name in called:
                break
        return _verdict(
            "service.tool_call",
            status == 200 and name in called,
            "; ".join(seen),
            "a call of " + name,
            "Check enable-auto-tool-choice and tool-call-parser in the plan.",
        )


def _body(error):
    """What an error page says, as far as it comes."""
    try:
        return " ".join(error.read().decode("utf-8", "replace").split())[:300]
    except (OSError, HTTPException):
        return "(no text)"


def _completion(data):
    try:
        choice = data["choices"][0]
        message = choice["message"]
        text = message.get("content") or message.get("reasoning") or message.get("reasoning_content") or ""
        return str(text), int(data["usage"]["completion_tokens"]), choice.get("finish_reason")
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return "", 0, None


def _called(data):
    try:
        calls = data["choices"][0]["message"].get("tool_calls") or []
        return [call["function"]["name"] for call in calls]
    except (AttributeError, KeyError, IndexError, TypeError):
        return []


def _verdict(name, good, seen, wanted, remedy):
    return {
        "id": name,
        "verdict": "pass" if good else "fail",
        "seen": seen,
        "wanted": wanted,
        "remedy": "" if good else remedy,
    }
