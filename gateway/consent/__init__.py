"""May it go? Pure: forms, the state they add up to, and the decision."""
