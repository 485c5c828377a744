"""The page that runs a network in a browser: its parts, of which nas.results.export.formats.demo makes one file."""
