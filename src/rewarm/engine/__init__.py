"""The engine: device, precision, optimizer and checkpoints; it knows no model family, data or schedule."""
