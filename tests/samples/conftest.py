"""The fixture that starts samples."""

from sample_process import start as start
