"""Hypothesis profile of all tests: no deadlines, so that slow machines do not fail tests."""

from hypothesis import HealthCheck, settings

settings.register_profile("gatehouse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gatehouse")
