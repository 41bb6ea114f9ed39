# Copyright: Contributors to the ascend_ops.vllm collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redact secrets in text: known values in all their usual spellings, and what looks like a secret.

What only looks like one stays where it is harmless (``num_tokens: 5``, ``api_key=None``, the path of a key file), since a log
without its numbers does not help to find a fault. Known values are always redacted.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
import shlex
from urllib.parse import quote, quote_plus

MARK = "[redacted]"
SHORTEST = 6  # a shorter value is part of too many innocent words

# -- names ----------------------------------------------------------------------------------------------------------

# Words of a name, and whether they make it that of a secret.
_ALWAYS = {"password", "passwd", "passphrase", "pwd", "secret", "secrets", "credential", "credentials", "apikey"}
_JOINED = ("password", "passwd", "passphrase", "secret", "apikey", "accesskey", "secretkey", "authtoken", "apitoken")
# What stands before "key" or "token" where it is no secret.
_PLAIN_KEYS = set(
    "cache sort primary foreign hash dict block lookup group public map missing unexpected unknown weight param state "
    "config json metric label partition shard row column sub super same each any ssh qkv".split()
)
_PLAIN_TOKENS = set(
    "bos eos pad unk sep cls mask special stop image video audio vision next new first last start end begin draft bonus "
    "sampled generated output input prompt per each this every one single think tool placeholder invalid target "
    "second time decode prefill".split()
)
# Such an ending names a place or a measure of the secret, not the secret.
_ABOUT = set("file files path dir name names policy stdin length len size type env var format fd error errors".split())


def secret_name(name):
    """Does *name* name a secret? 2: yes, 1: depending on its value, 0: no."""
    last = name.rstrip(".").rsplit(".", 1)[-1].strip("-_")
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", last)]
    if not words:
        return 0
    if last == last.upper():  # an environment variable
        return 2 if re.search("KEY|TOKEN|PASSW|SECRET|CREDENTIAL", re.sub("TOKENIZ", "", last)) else 0
    before, end = (words[-2] if len(words) > 1 else ""), words[-1]
    if end in _ABOUT:
        return 0
    if _ALWAYS & set(words) or end.endswith(_JOINED):
        # A file called secrets.env, a folder called secrets: the word alone.
        return 1 if words in (["secrets"], ["secret"]) else 2
    if end in ("keys", "tokens"):
        return 2 if before in ("api", "access", "auth", "bearer") else 0
    if end not in ("key", "token"):
        return 0
    if not before:
        return 1
    return 0 if before in (_PLAIN_KEYS if end == "key" else _PLAIN_TOKENS) else 2


_NOTHING = re.compile(r"(?:none|null|true|false|nil|unset|\*+|\[\]|\{\}|<[^>]*>|\$\{?[A-Z_]+\}?|\[redacted\])$", re.I)
_FOLDERS = r"/(?:etc|opt|usr|mnt|home|root|var|data|models?|tmp|run|srv|proc|sys|dev|lib|lib64|workspace|certs?)/"
_PATH = re.compile(_FOLDERS + r"[\w./@+ -]+$")
_NUMBER = re.compile(r"[-+]?\d[\d_,.]*(?:[eE]\d+)?[smhKMG%]?i?[Bb]?$")
_NEVER_A_NUMBER = re.compile("passw|secret|passphrase|pwd|api[_-]?key|access[_-]?key", re.I)


def is_secret(name, value):
    """Is this the value of a secret, by its name and by what it looks like?"""
    sure = secret_name(name)
    value = value.strip()
    if not sure or not value or _NOTHING.match(value) or _PATH.match(value):
        return False
    if _NUMBER.match(value):
        return bool(_NEVER_A_NUMBER.search(name))
    return sure == 2 or looks_random(value)


def looks_random(value):
    """Letters and digits in one word that is no dotted name."""
    return bool(
        re.match(r"[\w+/=:~-]{8,}$", value) and re.search(r"\d", value) and re.search("[A-Za-z]", value)
    ) or value.startswith("eyJ")


def parse_environment(text):
    """``[(name, value)]`` of lines that a shell reads, such as ``NAME='value'``; both readings of an ambiguous line."""
    found = []
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        words = []
    for word in words:
        match = re.match(r"([A-Za-z_]\w*)=(.*)$", word, re.S)
        if match:
            found.append(match.groups())
    for line in text.splitlines():
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_]\w*)=(.*?)\s*$", line)
        if match and (not words or match.group(1) not in {name for name, unused in found}):
            found.append((match.group(1), match.group(2).strip("'\"")))
    return found


# -- known values ---------------------------------------------------------------------------------------------------


def spellings(value):
    """The spellings of a known value: plain, quoted for URLs, shells and JSON, in hex; base64 is left to :func:`base64_cores`."""
    texts = {value}
    # A log may prefix each line of a key.
    texts.update(line.strip() for line in value.splitlines() if len(line.strip()) >= 16)
    for text in list(texts):
        texts.update([quote(text, safe=""), quote(text), quote_plus(text), html.escape(text), repr(text)[1:-1]])
        texts.update([shlex.quote(text).strip("'"), text.replace("'", "\\'"), text.replace('"', '\\"')])
        for ascii_only in (True, False):
            once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
            texts.update([once, json.dumps(once, ensure_ascii=ascii_only)[1:-1], once.replace("/", "\\/")])
        digits = binascii.hexlify(text.encode("utf-8")).decode("ascii")
        texts.update([digits, digits.upper()])
    for text in list(texts):
        if "%" in text:
            texts.add(re.sub(r"%[0-9A-F]{2}", lambda match: match.group(0).lower(), text))
    return {text for text in texts if len(text) >= SHORTEST}


def base64_cores(value):
    """The base64 of a value at any place in other data: the characters that do not depend on its neighbours."""
    cores = set()
    data = value.encode("utf-8")
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).decode("ascii").rstrip("=")
        core = encoded[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6]
        cores.update([core, core.translate({ord("+"): "-", ord("/"): "_"})])
    return cores


# -- patterns -------------------------------------------------------------------------------------------------------

_PATTERNS = (
    # Headers, in whatever quotes: the scheme stays.
    (
        r"((?:proxy-)?authorization(?:\\*[\"'])?\s*[:=,]\s*(?:b?\\*[\"'])?)((?:bearer|basic|token|digest)\s+)?"
        r"(?!\[redacted\]|(?:bearer|basic|token|digest)\s)[^\s\"'\\,;]+",
        r"\1\2" + MARK,
        re.I,
    ),
    (r"\b(bearer\s+)(?!\[redacted\])[A-Za-z0-9._~+/-]{8,}=*", r"\1" + MARK, re.I),
    # user:password@host; and a token in the user's place.
    (r"(\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@\"'<>]*:)(?!\[redacted\]@)[^\s/\"'<>]+@", r"\1" + MARK + "@", re.I),
    (r"(\bhttps?://)(?!\[redacted\]@)[^\s/:@\"'<>]{8,}@", r"\1" + MARK + "@", re.I),
    # Tokens with a known prefix.
    (r"(?<![\w-])(?:hf_[A-Za-z0-9]{12,}|gh[opsu]_[A-Za-z0-9]{16,}|glpat-[\w-]{12,}|AKIA[A-Z0-9]{16})\b", MARK, 0),
    (r"(?<![\w-])sk-(?=[\w-]*\d)[\w-]{16,}", MARK, 0),
    (r"\beyJ[\w-]{10,}\.[\w-]{8,}\.[\w-]*", MARK, 0),
)
_PATTERNS = tuple((re.compile(pattern, flags), to) for pattern, to, flags in _PATTERNS)
_KEY = re.compile(r"-----BEGIN ([A-Z ]{0,20})PRIVATE KEY-----.{0,20000}?-----END \1PRIVATE KEY-----", re.S)
_KEY_EDGE = re.compile(r"-----(BEGIN|END) [A-Z ]{0,20}PRIVATE KEY-----")
_KEY_LINE = re.compile(r"(?:^|[\s\"'])([A-Za-z0-9+/]+={0,2})[\s\"',;\\]{0,4}$")

# A name with a telling word, and what stands between it and its value. The name starts no later than its word.
_NAMED = re.compile(
    r"(?P<open>\\{0,8}[\"'])?(?<![\w.-])(?=[\w.-]{3,100}(?![\w.-]))(?P<name>[\w.-]*(?:key|token|passw|passphrase|pwd|secret|credential)[\w.-]*)"
    r"(?P<close>\\*[\"'])?"
    r"(?:(?P<sep>[ \t]*(?:=>|={1,2}|:)[ \t]*)|(?P<next>[ \t]*,\s*(?=\\*[\"'])|\x00|[ \t]+|[ \t]*\n[ \t]*-[ \t]+))",
    re.I,
)
_OPTION = re.compile(r"--?[A-Za-z]")
_QUOTE = re.compile(r"(?:[bru]{0,2})(\\*[\"'])")
_BARE = re.compile(r"[^\s\"'&;<>|\\\x00]{0,8000}")
_LINE_START = re.compile(r"(?:^|\n)[ \t]*(?:- |export |declare -x |set )?[ \t]*$")


class Redactor:
    """Redacts secrets in texts and data; ``count`` says how many.

    :param secrets: the known values. Those shorter than SHORTEST are redacted only next to their names; ``too_short`` counts
        them.
    """

    def __init__(self, secrets=()):
        values = {str(value) for value in secrets if value not in (None, "")}
        self.too_short = len([value for value in values if len(value) < SHORTEST])
        values = {value for value in values if len(value) >= SHORTEST}
        self.known = len(values)
        self._plain = sorted(
            {text for value in values for text in spellings(value)}, key=lambda text: (-len(text), text)
        )
        self._base64 = sorted({core for value in values for core in base64_cores(value)}, key=len, reverse=True)
        self.count = 0

    def known_values(self, text):
        """The text without the known values, in any spelling."""
        for spelling in self._plain:
            if spelling in text:
                self.count += text.count(spelling)
                text = text.replace(spelling, MARK)
        for core in self._base64:
            if core in text:
                text, count = re.subn("[A-Za-z0-9+/_-]?" + re.escape(core) + "[A-Za-z0-9+/_-]?={0,2}", MARK, text)
                self.count += count
        return text

    def text(self, text):
        """The text without what is known, and without what looks like a secret."""
        text = self.known_values(text)
        if "PRIVATE KEY-----" in text:
            text = self._keys(text)
        for pattern, to in _PATTERNS:
            text, count = pattern.subn(to, text)
            self.count += count
        return self._named(text)

    def _keys(self, text):
        """Private keys, also those whose end or start was cut off: then as far as lines look like one."""
        text, count = _KEY.subn(MARK, text)
        self.count += count
        if not _KEY_EDGE.search(text):
            return text
        lines = text.split("\n")
        for index, line in enumerate(lines):
            edge = _KEY_EDGE.search(line)
            if not edge:
                continue
            self.count += 1
            begins = edge.group(1) == "BEGIN"
            lines[index] = line[: edge.start()] + MARK if begins else MARK + line[edge.end() :]
            other = index + 1 if begins else index - 1
            while 0 <= other < len(lines):
                found = _KEY_LINE.search(lines[other][-160:])
                short = found and len(found.group(1)) < 40  # only the last line of a key is
                if not found or (short and not begins and other != index - 1):
                    break
                lines[other] = MARK
                if short and begins:
                    break
                other += 1 if begins else -1
        return "\n".join(lines)

    def _named(self, text):
        """Redact values whose names say that they are secrets."""
        parts = []
        done = 0
        for match in _NAMED.finditer(text):
            if match.start("name") < done:
                continue
            found = self._value(text, match)
            if found is None:
                continue
            start, end = found
            parts.extend([text[done:start], MARK])
            done = end
            self.count += 1
        return "".join(parts + [text[done:]]) if parts else text

    def _value(self, text, match):
        """The place of a name's value, ``(start, end)``, or None where it stays."""
        name = match.group("name")
        option = bool(_OPTION.match(name))
        if match.group("sep") is None and (not option or name.startswith("-p") and len(name) < 4):
            return None
        if not secret_name(name):
            return None
        start = match.end()
        if text.startswith(MARK, start):
            return None
        # ?key=… and &token=… of an address are those of a caller.
        before = text[max(0, match.start("name") - 40) : match.start("name")]
        if before[-1:] in ("?", "&") and match.group("sep") == "=":
            end = _BARE.match(text, start).end()
            return (start, end) if end > start else None
        quoted = _QUOTE.match(text, start)
        if quoted:
            start, end = _inside(text, quoted)
        elif text.startswith("[", start):
            closing = text.find("]", start, start + 4000)
            end = closing + 1 if closing >= 0 else _line_end(text, start)
            inner = re.findall(r"\\*[\"']([^\"'\\]+)", text[start:end])
            return (start, end) if any(is_secret(name, value) for value in inner) else None
        elif match.group("next") is not None and text.startswith("-", start):
            return None
        elif match.group("open") and not match.group("close") and match.group("sep") is not None:
            closing = text.find(match.group("open"), start, _line_end(text, start))
            end = closing if closing >= 0 else _line_end(text, start)
        elif match.group("sep") is not None and not option and _LINE_START.search(before):
            end = _line_end(text, start)
        else:
            end = start + len(_BARE.match(text, start).group(0).rstrip(",)]}:"))
        value = text[start:end]
        return (start, end) if is_secret(name, value) else None

    def data(self, value, name=""):
        """A copy of JSON data with secrets redacted in keys and values."""
        if isinstance(value, dict):
            return {self.text(str(key)): self.data(item, str(key)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            items = []
            for item in value:
                before = items and isinstance(value[len(items) - 1], str) and value[len(items) - 1]
                option = before if before and _OPTION.match(before) and "=" not in before else ""
                plain = isinstance(item, str) and not item.startswith("-")
                items.append(self.data(item, option if option and plain else name))
            return items
        if not isinstance(value, str):
            return value
        if name and is_secret(name, value):
            self.count += 1
            return MARK
        return self.text(value)


def _line_end(text, start):
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    return end - 1 if text[end - 1 : end] == "\r" and end > start else end


def _inside(text, quoted):
    """The place of a quoted value: up to the same quote on this line, and through what a shell joins to it."""
    mark = quoted.group(1)
    start = quoted.end()
    line = _line_end(text, start)
    end = start
    while True:
        end = text.find(mark, end, line)
        if end < 0:
            return start, line
        slashes = len(text[start:end]) - len(text[start:end].rstrip("\\"))
        if slashes % 2 and mark[0] != "\\":
            end += len(mark)
            continue
        after = end + len(mark)
        if mark == "'" and text[after : after + 1] in ("'", '"', "\\"):  # 'it'"'"'s', 'it'\''s'
            joined = re.compile(r"(?:\"'\"|\\')'").match(text, after)
            if joined:
                end = joined.end()
                continue
        return start, end


def secret_values(pairs):
    """The values of ``[(name, value)]`` that are secrets by their names."""
    return [value for name, value in pairs if is_secret(name, value)]


def names_only(text):
    """The names in a file of secrets, such as secrets.env, with redacted values."""
    return "".join(f"{name}={MARK}\n" for name, unused in parse_environment(text))
