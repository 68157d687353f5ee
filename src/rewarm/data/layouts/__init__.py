"""How tokens lie in files that others have written, and in those written here."""
