"""Carrying a plan out: stages in order, the loop, one step, and what is saved of it."""
