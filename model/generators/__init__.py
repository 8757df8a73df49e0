"""Games for those who have no records: played by bots, or drawn from a source whose every chance is known."""
