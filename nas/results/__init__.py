"""What searches and trainings came to: confirmed, compared in tables, reported, exported."""
