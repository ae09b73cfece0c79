"""Launchpad decoders: transactions in, facts out. No I/O, no clock, no log, no event loop."""
