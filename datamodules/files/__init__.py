"""Files: their formats, recognised by what they hold, and what every reader asks of numbers."""
