"""How far a sync is, for people: one line, which a terminal shows over and over, and a file gets now and then."""

import time


class Progress:
    """What a connector last reported of each kind of thing."""

    def __init__(self, stream):
        self.stream, self.terminal = stream, stream.isatty()
        self.pause = 0.1 if self.terminal else 10
        self.counts, self.shown, self.next = {}, "", time.monotonic() + self.pause

    def report(self, what, done, total):
        """`done` of `total` are done; `total` is None while that is not known."""
        self.counts[what] = (done, total)
        if time.monotonic() >= self.next:
            self.show()

    def show(self):
        """The line, if it has something new to say."""
        # What has an end comes first; what has not happened is not worth a word.
        counts = self.counts.items()
        parts = [f"{done} of {total} {what}" for what, (done, total) in counts if total is not None]
        parts += [f"{done} {what}" for what, (done, total) in counts if total is None and done > 0]
        line = ", ".join(parts)
        if line and line != self.shown:
            self.clear()
            self.stream.write(line if self.terminal else line + "\n")
            self.stream.flush()
        self.shown, self.next = line, time.monotonic() + self.pause

    def clear(self):
        """Makes room for another line."""
        if self.terminal:
            self.stream.write("\r\x1b[K")
        self.shown = ""

    def end(self):
        """The last line stays."""
        self.show()
        if self.terminal and self.shown:
            self.stream.write("\n")
