"""The cards for the record: what repeats the search, and what became of it."""
