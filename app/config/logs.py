"""One JSON object a line, for journald and whatever reads it.

Pure standard library: gunicorn may use `config.logs.JsonFormatter` before Django is set up.
"""

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

# The id of the request being served in this thread; empty outside requests.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# journald splits lines at 48 KiB (journald.conf(5), LineMax=), which would break the JSON.
MESSAGE_LIMIT = 4_000
TRACE_LIMIT = 16_000

HIDDEN = "[hidden]"
_SECRET_NAME = re.compile(r"authorization|cookie|passw|secret|token|credential|api_?key|session", re.IGNORECASE)
_SECRET_SHAPES = [
    # A JSON Web Token, whole or cut off: base64url of '{"' always begins with eyJ.
    (re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*){0,2}"), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+"), rf"\1 {HIDDEN}"),
    # The password in user:password@host.
    (re.compile(r"(://[^\s:/@]*:)[^\s@]+@"), rf"\1{HIDDEN}@"),
    (
        re.compile(r"(?i)\b(password|passwd|secret|sessionid|csrftoken)(\W?\s?[=:]\s?\W?)[^\s\"'&,;)]+"),
        rf"\1\2{HIDDEN}",
    ),
]
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def hide_secrets(text: str) -> str:
    """`text` with everything that looks like a token, a password or a URL's password replaced."""
    for shape, replacement in _SECRET_SHAPES:
        text = shape.sub(replacement, text)
    return text


class JsonFormatter(logging.Formatter):
    """Formats a record as one line: time, level, logger, message, request_id, plain extras, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a newline; every other control character is escaped by JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": hide_secrets(record.getMessage()[:MESSAGE_LIMIT]),
        }
        if current := request_id.get():
            line["request_id"] = current
        for name, value in vars(record).items():
            if name in _STANDARD or name in line:
                continue
            # Django attaches the whole request object to some records: only plain values may leave.
            if value is None or isinstance(value, bool | int | float):
                line[name] = value
            elif isinstance(value, str):
                hidden = _SECRET_NAME.search(name) is not None
                line[name] = HIDDEN if hidden else hide_secrets(value[:MESSAGE_LIMIT])
        if record.exc_info:
            # The end of a traceback says most.
            line["exception"] = hide_secrets(self.formatException(record.exc_info)[-TRACE_LIMIT:])
        return json.dumps(line)
