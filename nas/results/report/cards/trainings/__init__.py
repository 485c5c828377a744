"""The cards on the trainings."""
