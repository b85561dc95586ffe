"""Rules: a folder for each area of AWS, a module for each service."""
