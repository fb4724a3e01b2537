"""Layer weights learned from data: many short runs, scored at equal content by a network that no run worked towards."""
