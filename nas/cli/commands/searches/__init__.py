"""Commands about searches and what they came to."""
