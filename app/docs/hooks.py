"""Adds what the views themselves do not say to the OpenAPI document."""

from typing import Any

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
BODY_REFUSALS = {"400": "The body is not valid.", "413": "The body is too large.", "415": "The body is no JSON."}
UNAUTHORIZED = {"401": "The credentials or the token are refused."}
THROTTLED = {"429": "Too many failed attempts; see Retry-After."}


def describe_problems(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """A drf-spectacular postprocessing hook: every operation can answer with a problem."""
    result["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    answer = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for methods in result["paths"].values():
        for operation in methods.values():
            refusals = {**UNAUTHORIZED, "default": "Any other problem."}
            if "requestBody" in operation:
                refusals = {**BODY_REFUSALS, **refusals}
            if operation["operationId"] == "token_obtain":
                refusals = {**refusals, **THROTTLED}
            for status, description in refusals.items():
                operation["responses"][status] = {"description": description, "content": answer}
    return result
