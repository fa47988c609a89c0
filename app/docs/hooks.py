"""Adds what the views themselves do not say to the OpenAPI document."""

from typing import Any

from slipway_jwt.parsers import BODY_LIMIT, DEPTH_LIMIT

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail", "instance", "request_id", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What happened, for a person."},
        "instance": {"type": "string", "description": "The path that was asked for."},
        "request_id": {"type": "string", "description": "Finds this request in the logs."},
        "code": {"type": "string", "description": "What happened, for a program."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
BODY_REFUSALS = {
    "400": f"The body is not valid: it is JSON (RFC 8259, UTF-8) of at most {DEPTH_LIMIT} levels, with no name twice "
    "in an object, no number beyond a double's range and no half of a character (RFC 7493).",
    "413": f"The body is larger than {BODY_LIMIT // 1024} KiB.",
    "415": "The body is not called application/json.",
}
UNAUTHORIZED = {"401": "The credentials or the token are refused."}
THROTTLED = {"429": "Too many failed attempts; see Retry-After."}
ASKING_FOR_PASSWORDS = {"token_obtain", "password_change"}
FORGED = {"403": "The token came in a cookie, and no page of ours has sent the request."}
TAKING_COOKIES = {"token_refresh", "token_blacklist"}


def describe_problems(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """A drf-spectacular postprocessing hook: every operation can answer with a problem."""
    result["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    answer = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for methods in result["paths"].values():
        for method, operation in methods.items():
            refusals = {"default": "Any other problem."}
            if "security" in operation or "token" in operation["tags"]:
                refusals = {**UNAUTHORIZED, **refusals}
            if "requestBody" in operation:
                refusals = {**BODY_REFUSALS, **refusals}
            if operation["operationId"] in ASKING_FOR_PASSWORDS:
                refusals = {**refusals, **THROTTLED}
            if operation["operationId"] in TAKING_COOKIES or ("security" in operation and method != "get"):
                refusals = {**refusals, **FORGED}
            for status, description in refusals.items():
                operation["responses"][status] = {"description": description, "content": answer}
    return result
