"""Ends a stream of text at a stop string, of which no part is ever shown."""

from collections.abc import Sequence

from nexus_edge.errors import InputError


class StopStrings:
    """Pieces of text in, the pieces that are certain not to begin a stop string out."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises InputError for an empty stop string."""
        if "" in stops:
            raise InputError("a stop string is empty; leave it out")
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """The text that is certain now. `stopped` says whether a stop string came; nothing may be pushed then."""
        text = self._held + piece
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        begins = self._begins_stop(text)
        self._held = text[begins:]
        return text[:begins]

    def flush(self) -> str:
        """What was held back, at the end of the text."""
        text, self._held = self._held, ""
        return text

    def _begins_stop(self, text: str) -> int:
        """Where the earliest ending of `text` starts that could still become a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for place in range(max(len(text) - longest, 0), len(text)):
            if any(stop.startswith(text[place:]) for stop in self._stops):
                return place
        return len(text)
