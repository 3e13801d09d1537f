"""The file's training section: where fits run."""

from typing import Annotated

from pydantic import Field, StringConstraints

from millrace_contracts.pipeline_file.basic_forms import Form

_CLUSTER = r"^([a-z][a-z0-9-]{0,62}|(tcp|tls)://[A-Za-z0-9._\[\]:-]{1,250}:[0-9]{1,5})$"


class TrainingForm(Form):
    cluster: Annotated[str, StringConstraints(pattern=_CLUSTER)] | None = Field(
        default=None,
        examples=["main"],
        description="A Dask scheduler that fits run on, by the name or address that training's settings "
        "(TRAINING_CLUSTERS) have; in training's own process if left out.",
    )
