"""Users' own stream processors as Faust agents: the platform's topics, with typed values, fences, ids and traces.

    from millrace.faust import agent, application, output, topic

    app = application("large-demand")
    large = output(app, "bikes.large-demand", type="bikes.v1.LargeDemand")

    @agent(app, topic(app, "millrace.predictions"))
    async def flag(heard, send):
        if heard.value.value > 500:
            await send(large, key=heard.value.entity, value={"event": heard.value.event_id})

Needs the extra: `pip install millrace-client[faust]`. What is promised stands in docs/faust.md.
"""

try:
    import faust as _faust  # noqa: F401  only to say what is missing
except ImportError as error:
    raise ImportError(
        "millrace.faust needs faust-streaming: install millrace-client[faust]"
    ) from error

from millrace.faust.agents import agent
from millrace.faust.application import Application, application
from millrace.faust.codec import Heard
from millrace.faust.sending import Output, Send, output
from millrace.faust.topics import topic

__all__ = [
    "Application",
    "Heard",
    "Output",
    "Send",
    "agent",
    "application",
    "output",
    "topic",
]
