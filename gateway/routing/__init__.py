"""Where does it go? Pure. Routes only add destinations; none can permit what the decision denies."""
