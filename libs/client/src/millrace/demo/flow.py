"""How fast two years may pass: as fast as the loop scores, and not at all while it trains.

An hour of history lasts a few thousandths of a second here, a fit takes as long as it does. If history went on during a
run, weeks would pass that in life are seconds, and every model would be old before it answered.
"""

import asyncio

from millrace.demo.story import Story
from millrace.replay.pace import Sent

MOST_UNSCORED = 120  # events sent and not scored yet: five days of hours
LONGEST_RUN_SECONDS = 20.0


class Flow:
    """Lets history pass, or stand still. `heard` is to be called after each batch that the story has heard."""

    def __init__(
        self,
        story: Story,
        *,
        most_unscored: int = MOST_UNSCORED,
        longest_run_seconds: float = LONGEST_RUN_SECONDS,
    ) -> None:
        self._story = story
        self._most_unscored = most_unscored
        self._longest_run_seconds = longest_run_seconds
        self._news = asyncio.Event()

    def heard(self) -> None:
        self._news.set()

    async def wait(self, sent: Sent) -> None:
        """Return when the next events may be sent; a run that takes very long is not waited for any longer."""
        began = asyncio.get_running_loop().time()
        while self._behind(sent) or self._deciding_since(began):
            self._news.clear()
            await self._news.wait()

    def _behind(self, sent: Sent) -> bool:
        return sent.events - len(self._story.scored) > self._most_unscored

    def _deciding_since(self, began: float) -> bool:
        waited = asyncio.get_running_loop().time() - began
        return self._story.deciding and waited < self._longest_run_seconds
