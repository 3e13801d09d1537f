"""What the file says of free text."""

from typing import Annotated

from pydantic import Field, StringConstraints

from millrace_contracts.pipeline_file.basic_forms import Form

_PATH = r"^([A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*\.onnx$"
LONGEST_TEXT_BYTES = 65_536  # in UTF-8: an event with some of them still fits a message on the bus

NgramSizes = Annotated[
    list[Annotated[int, Field(ge=1, le=8)]], Field(max_length=2, examples=["[1, 2]"])
]


class TextForm(Form):
    """How models read fields of kind text."""

    words: NgramSizes = Field(
        default=[1, 2], description="The shortest and the longest n-gram of words; [] for none."
    )
    characters: NgramSizes = Field(
        default=[], description="The shortest and the longest n-gram of characters; [] for none."
    )
    buckets: int = Field(
        default=512,
        ge=16,
        le=4096,
        description="Columns that a text's n-grams are hashed into.",
    )
    encoder: Annotated[str, StringConstraints(max_length=200, pattern=_PATH)] | None = Field(
        default=None,
        examples=["sentences.onnx"],
        description="An ONNX sentence encoder instead of n-grams: its path in training's folder of encoders.",
    )
