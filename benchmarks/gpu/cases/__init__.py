"""The parts: each module's `measure(setting, case)` yields rows."""
