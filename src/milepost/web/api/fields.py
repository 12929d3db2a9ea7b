"""Fields that several bodies and addresses have."""

from typing import Annotated, Final

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from milepost.jobs.backoff import LONGEST_WAIT
from milepost.jobs.names import LONGEST_NAME, LOWEST_PRIORITY, check_queue

# PostgreSQL's texts hold no NUL.
NO_NUL: Final = r"^[^\x00]*$"
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=NO_NUL)]
QueueName = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_NAME), AfterValidator(check_queue)
]
Reason = Annotated[str, Field(max_length=1000, pattern=NO_NUL)]
Priority = Annotated[int, Field(ge=0, le=LOWEST_PRIORITY)]
Seconds = Annotated[float, Field(gt=0, le=LONGEST_WAIT.total_seconds())]
Asked = Annotated[str | None, Query(max_length=200, pattern=NO_NUL)]


class Body(BaseModel):
    """What is sent to us: a field that we do not know is a mistake."""

    model_config = ConfigDict(extra="forbid")
