"""Starting, watching and stopping everything that a team lives with."""
