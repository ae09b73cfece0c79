"""The daemon: sources, journal, pipeline, store, and what they stand on."""
