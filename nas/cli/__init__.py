"""The command line: flags, tables, the live view."""
