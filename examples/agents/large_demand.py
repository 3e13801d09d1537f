"""An agent of one's own: tells whenever a champion predicts that very many bikes will be hired.

Reads `millrace.predictions`, writes `bikes.large-demand`. Start it beside a running stack with

    python examples/agents/large_demand.py worker --without-web

and as many times as there are partitions to share. See docs/faust.md.
"""

from millrace.faust import Heard, Send, agent, application, output, topic
from millrace_proto.v1.predictions_pb2 import PREDICTION_ROLE_CHAMPION

LARGE = 500.0  # bikes hired in the next hour

app = application("large-demand")
large_demand = output(app, "bikes.large-demand", type="bikes.v1.LargeDemand")


@agent(app, topic(app, "millrace.predictions"))
async def flag(heard: Heard, send: Send) -> None:
    """One event for each prediction of the champion that is large."""
    prediction = heard.value
    if prediction.role == PREDICTION_ROLE_CHAMPION and prediction.value >= LARGE:
        await send(
            large_demand,
            key=prediction.entity,
            value={
                "pipeline": prediction.pipeline,
                "event_id": prediction.event_id,
                "station": prediction.entity,
                "bikes": prediction.value,
            },
        )


if __name__ == "__main__":
    app.main()
