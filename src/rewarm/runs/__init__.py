"""The run folder: every path and every record, the contract between who writes and who reads."""
