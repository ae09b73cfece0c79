"""The daemon: sources, store, announcements, commands."""
