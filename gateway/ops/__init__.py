"""What an operator starts: real counterparts, test data, the demo."""
