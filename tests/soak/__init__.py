"""What must hold when processes die, stores go away and load is too much: small in CI, full with ``make soak``."""
