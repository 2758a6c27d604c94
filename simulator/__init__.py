"""Faithful stand-ins for the providers' own endpoints: their limits, errors and faults, and an inbox."""
