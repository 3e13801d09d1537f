"""What free text demands of the file, and what a label in words does."""

from collections.abc import Iterator, Sequence

from millrace_contracts.pipeline_file.forms import LabelForm, ModelForm, RetrainingForm
from millrace_contracts.pipeline_file.problems import Path, shown
from millrace_contracts.pipeline_file.text_forms import TextForm

Complaint = tuple[Path, str, str]  # where, what, fix

MOST_TEXT_COLUMNS = 8_192  # of all text fields together: every row of a training set has as many
IN_WORDS = "retrieval"  # the one kind of model that answers in words
_PATH: Path = ("spec", "model")


def text_complaints(
    model: ModelForm, texts: int, retraining: RetrainingForm | None
) -> Iterator[Complaint]:
    """What is wrong with how so many free texts are read."""
    reading, path = model.text, (*_PATH, "text")
    if reading.encoder is not None:
        yield from _encoded(reading, retraining)
        return
    for key, sizes in (("words", reading.words), ("characters", reading.characters)):
        if sizes and (len(sizes) != 2 or sizes[0] > sizes[1]):
            what = f"{shown(sizes)} is not a shortest and a longest n-gram"
            yield (*path, key), what, "write e.g. [1, 2], or [] for none"
    if not reading.words and not reading.characters:
        yield path, "leaves nothing of a text", "write n-grams of words or of characters"
    if texts * reading.buckets > MOST_TEXT_COLUMNS:
        what = f"makes {texts * reading.buckets} columns of {texts} text fields"
        fix = f"write fewer buckets: {MOST_TEXT_COLUMNS} columns are the most"
        yield (*path, "buckets"), what, fix


def _encoded(reading: TextForm, retraining: RetrainingForm | None) -> Iterator[Complaint]:
    for key in ("words", "characters", "buckets"):
        if key in reading.model_fields_set:
            where = (*_PATH, "text", key)
            yield where, "does not go with encoder, which hashes nothing", "remove it"
    if retraining is not None and "update" in (retraining.on or ()):
        what = "says update, and a model that reads by an encoder is not updated"
        yield ("spec", "retraining", "on"), what, "remove update here, or model.text.encoder"


def words_complaints(
    model: ModelForm,
    label: LabelForm,
    learnt: Sequence[str] | None,
    retraining: RetrainingForm | None,
) -> Iterator[Complaint]:
    """What is wrong with a label in words. `learnt`: the text features that a model looks at; None while they are not known."""
    if label.kind != "text":
        return
    if "candidates" in model.model_fields_set:
        for index, name in enumerate(model.candidates):
            if name != IN_WORDS:
                where = (*_PATH, "candidates", index)
                yield where, f"{name} does not answer in words", f"write {IN_WORDS}"
    if learnt is not None and not learnt:
        path: Path = ("spec", "label", "kind")
        yield path, "needs a prompt to answer to", "add a field of kind text"
    if retraining is not None and "update" in (retraining.on or ()):
        path = ("spec", "retraining", "on")
        yield path, f"says update, and {IN_WORDS} is not updated", "remove update here"
