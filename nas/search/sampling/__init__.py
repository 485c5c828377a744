"""What strategies share: proposals within budget by construction, walks that are replayed."""
