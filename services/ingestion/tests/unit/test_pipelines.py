from millrace_ingestion.application.pipelines import PipelinesInForce


def in_force(*pipelines):
    view = PipelinesInForce()
    for pipeline in pipelines:
        view.apply(pipeline)
    return view


def readers(view, topic):
    return [
        (route.rules.pipeline, route.rules.version, route.labels_only)
        for route in view.routes(topic)
    ]


def test_several_pipelines_may_read_one_topic_and_are_told_by_name(pipeline):
    view = in_force(pipeline("trams", topic="rides"), pipeline("bikes", topic="rides"))

    assert readers(view, "rides") == [("bikes", 1, False), ("trams", 1, False)]
    assert readers(view, "other") == []


def test_a_topic_of_labels_alone_is_read_too(pipeline):
    view = in_force(pipeline(label="field: cnt, kind: regression, topic: truths"))

    assert set(view.topics) == {"millrace.raw.bikes", "truths"}
    assert readers(view, "truths") == [("bikes", 1, True)]


def test_the_newest_version_is_in_force_whatever_the_order(pipeline):
    view = in_force(pipeline(version=2), pipeline(version=3, topic="rides"), pipeline(version=1))

    assert list(view.topics) == ["rides"]
    assert view.rules("bikes").version == 3
    assert view.topic("bikes") == "rides"


def test_a_pipeline_that_ended_reads_nothing(pipeline):
    view = in_force(pipeline("bikes", topic="rides"), pipeline("trams", topic="rides"))

    view.remove("bikes")
    view.remove("never-there")

    assert readers(view, "rides") == [("trams", 1, False)]
    assert view.names == ["trams"]
    assert view.rules("bikes") is None


def test_a_pipeline_that_ended_may_begin_again_at_version_one(pipeline):
    view = in_force(pipeline(version=7))
    view.remove("bikes")

    view.apply(pipeline(version=1))

    assert view.rules("bikes").version == 1
