"""The error of a weight file that cannot be used."""


class UnsupportedCheckpoint(ValueError):
    """A weight file that cannot be used: one sentence with what was found and what is needed."""
