"""What the tables of a campaign file have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Positive = Annotated[int, Field(ge=1, strict=True)]
NotNegative = Annotated[int, Field(ge=0, strict=True)]


class Table(BaseModel):
    """A table: a frozen value, in which a key that is not known is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")
