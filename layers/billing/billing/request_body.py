"""Request bodies against their JSON schemas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import fastjsonschema

from billing.errors import BadRequest

Body = Mapping[str, Any]


def checker(schema: dict[str, Any]) -> Callable[[Body], Body]:
    """A function that gives back a body that is valid by `schema`, compiled once.

    It raises BadRequest, naming the property that is not and why.
    """
    validate = fastjsonschema.compile(schema)

    def checked(body: Body) -> Body:
        try:
            validate(body, name_prefix="body")
        except fastjsonschema.JsonSchemaValueException as error:
            raise BadRequest(f"{error.message}.") from None
        return body

    return checked
