"""The version. The package's metadata is made from it, since reading it from there would take longer than a call."""

__version__ = "0.1.0"
