"""No request takes longer than so many seconds, the reading of its body included."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridgerec.serving.guard.answers import refuse
from bridgerec.serving.limit import Limit


class Timeout:
    """Answers 504 in time and cancels the work, where the work awaits something.

    An answer that has begun cannot become another one; it is cut off.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app, self.seconds, self._limit = app, seconds, Limit(seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        limited = self._limit()
        try:
            with limited:
                await self.app(scope, receive, watched)
        except TimeoutError:
            if not limited.expired:  # the application's own
                raise
            if not begun:
                what = f"no answer within {self.seconds:g} seconds"
                remedy = "Try again, or ask for less at once."
                await refuse(scope, send, 504, "timeout", what, remedy)
