"""What the workers of a run share, on one machine or on many: journal, turns, leases, the states of trainings."""
