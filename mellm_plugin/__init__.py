"""Micro-expression understanding inside lmms-eval. Only the version is here: importing this costs nothing."""

__version__ = "0.1.0"
