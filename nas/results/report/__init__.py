"""The report of a search: what it is made of, its cards, its page."""
