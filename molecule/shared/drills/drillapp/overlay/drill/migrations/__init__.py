"""Of the table of executions."""
