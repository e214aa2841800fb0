"""A mistake of one place, and the test that must notice it."""

from __future__ import annotations

from dataclasses import dataclass

#: Where the code and its tests are.
PACKAGE = "layers/billing/billing"
UNIT = "tests/unit"


@dataclass(frozen=True, slots=True)
class Edit:
    """A mistake: `old` occurs once in `file`, and `new` takes its place.

    `killed_by` is the test that fails then, as pytest names it; all cases of it if none is named.
    """

    name: str
    file: str
    old: str
    new: str
    killed_by: str

    def applied_to(self, text: str) -> str:
        """The text of the file with the mistake. Raises ValueError unless `old` occurs once."""
        if (found := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: {found} places in {self.file} have the old text")
        return text.replace(self.old, self.new)
