"""Tests of how the doctor finds it out."""
