"""JSON schemas: how a body is declared, and what is wrong with one that does not match."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from billing.errors import BadRequest

Body = Mapping[str, Any]


def object_schema(description: str, /, **properties: Any) -> dict[str, Any]:
    """The JSON schema of an object with exactly these properties."""
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


def checker(schema: dict[str, Any]) -> Callable[[Body], Body]:
    """A function that returns a body that is valid by `schema`, which it compiles once.

    The function raises BadRequest with the name of the field that is wrong and what is allowed.
    """
    # Only here: a module that declares a schema does not load the library that checks bodies.
    import fastjsonschema

    validate = fastjsonschema.compile(schema)

    def checked(body: Body) -> Body:
        try:
            validate(body)
        except fastjsonschema.JsonSchemaValueException as error:
            raise BadRequest(_sentence(error)) from None
        return body

    return checked


def _sentence(error: Any) -> str:
    """What is wrong, in one sentence, of a JsonSchemaValueException. Its path begins with the body
    itself."""
    field = ".".join(str(part) for part in error.path[1:])
    subject = f"Field {field}" if field else "The body"
    definition: dict[str, Any] = error.definition
    match error.rule:
        case "additionalProperties":
            allowed = list(definition["properties"])
            unknown = next(name for name in error.value if name not in allowed)
            where = f"{field}.{unknown}" if field else unknown
            return f"Unknown field {where}; allowed: {', '.join(allowed)}."
        case "required":
            missing = next(name for name in definition["required"] if name not in error.value)
            return f"Field {field + '.' if field else ''}{missing} is missing."
        case "type":
            return f"{subject} must be {_TYPES[definition['type']]}."
        case "enum":
            allowed = [str(each) for each in definition["enum"]]
            return f"{subject} must be one of: {', '.join(allowed)}."
        case "minimum" | "maximum":
            return (
                f"{subject} must be a number from {definition['minimum']} to "
                f"{definition['maximum']}."
            )
        case "minLength":
            return f"{subject} must not be empty."
        case "maxLength":
            return f"{subject} must have at most {definition['maxLength']} characters."
        case "pattern":
            return f"{subject} must be {definition['description']}."
        case _:
            # minItems, maxItems, minProperties, maxProperties: our schemas bound both alike.
            return f"{subject} must have exactly one entry."


_TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
}
