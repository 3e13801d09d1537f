"""Sentence encoders by which a fit reads free text: found in the one folder that they may come from, opened within the fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from millrace_artifacts.errors import UnreadableArtifactError
from millrace_artifacts.sentence_encoders import LARGEST_ENCODER, open_encoder
from millrace_artifacts.texts import TextColumn
from millrace_training.adapters.fitting.job import FitError, FitJob, NoCandidateError
from millrace_training.adapters.fitting.options import Options

MOST_TEXT_COLUMNS = 8_192  # of all text fields together: every row of a training set has as many


def with_encoder(options: Options, folder: Path | None) -> Options:
    """The options with the encoder that they name, read from its folder. Raises NoCandidateError when it is not there."""
    if not options.encoded_by:
        return options
    if folder is None:
        raise NoCandidateError(
            f"the pipeline reads text by {options.encoded_by}, and there is no folder of encoders here; "
            "set TRAINING_ENCODERS_DIR"
        )
    base = folder.resolve()
    path = (base / options.encoded_by).resolve()
    if not path.is_relative_to(base) or not path.is_file():
        raise NoCandidateError(
            f"the pipeline reads text by {options.encoded_by}, which is not in {base} (TRAINING_ENCODERS_DIR); put it there"
        )
    if path.stat().st_size > LARGEST_ENCODER:
        raise NoCandidateError(
            f"{path} has {path.stat().st_size} bytes; an encoder has at most {LARGEST_ENCODER}"
        )
    return replace(options, encoder=path.read_bytes())


@contextmanager
def sentences_read(job: FitJob) -> Iterator[FitJob]:
    """The job with the columns that its encoder reads, while that one is open. Raises FitError."""
    options = job.options
    if not options.encoded_by:
        yield job
        return
    if job.cluster is not None:
        raise NoCandidateError(
            f"{job.pipeline} reads text by {options.encoded_by}, which no cluster does; leave out training.cluster"
        )
    if not options.encoder:
        raise NoCandidateError(
            f"{job.pipeline} reads text by {options.encoded_by}, which was not given to this fit"
        )
    try:
        encoder = open_encoder(options.encoder)
    except UnreadableArtifactError as error:
        raise NoCandidateError(f"{job.pipeline}: {options.encoded_by}: {error}") from error
    learnt = [name for name in options.encoded_columns if name in job.categories]
    texts = tuple(TextColumn.encoded(name, encoder) for name in learnt)
    if len(texts) * encoder.width > MOST_TEXT_COLUMNS:
        raise FitError(
            f"{job.pipeline}: {len(texts)} text fields by an encoder of {encoder.width} columns; "
            f"{MOST_TEXT_COLUMNS} are the most"
        )
    # `encoder` is held here until the fit is over: columns find it by its digest
    yield replace(job, options=replace(options, texts=texts))
