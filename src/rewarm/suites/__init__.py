"""The paper's comparisons as suites: claims, the campaigns that test them, and verdicts from several seeds."""
