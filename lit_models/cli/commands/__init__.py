"""Commands of our own, one file and one class each."""
