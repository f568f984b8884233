"""Why a line could not be measured."""


class NotMeasured(Exception):
    """There is no line between two bases, or nothing here to measure it with; the message says which.

    No error of the run: the forecast then rests on the statistics alone, and says why.
    """
