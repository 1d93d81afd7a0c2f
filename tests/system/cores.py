"""Cores."""
