"""The version, which the package's metadata is made from: reading it there costs more than a whole call."""

__version__ = "0.1.0"
