"""The function that a child process runs to make a card."""

from millrace_training.adapters.cards.job import FORMAT, Card, CardJob


def make_card(job: CardJob) -> Card:
    """Measure what is asked about every model, and write it down. The same job gives the same card.

    Raises ArtifactError, FitError. Imports the model libraries only when called, as `fitting.fit` does.
    """
    from millrace_training.adapters.cards.content import content_of
    from millrace_training.adapters.cards.facts import facts_of
    from millrace_training.adapters.cards.writing import html, markdown

    facts = facts_of(job)
    blocks = list(content_of(job, facts))
    title = f"Model card: {job.fit.pipeline}, run {job.about.run_number}"
    return Card(
        format=FORMAT,
        pipeline=job.fit.pipeline,
        run_id=job.about.run_id,
        markdown=markdown(blocks),
        html=html(title, blocks),
        facts=facts,
    )
