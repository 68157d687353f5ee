"""What can be collected here."""

from importlib.util import find_spec

# Its modules stand on an extra, which the environment of development does not have; `make parity` does.
collect_ignore = [] if find_spec("lm_eval") else ["src/rewarm/evaluation/harness"]
