"""What a ladder found: the typed report, and its writers."""
