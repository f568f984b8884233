"""What runs inside a container: the steps of a pipeline and the modules they share."""

__version__ = "0.1.0"
