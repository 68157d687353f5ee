"""Our schedules and replay in other people's trainers; each module stands alone."""
