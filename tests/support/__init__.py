"""What tests of several tiers share; nothing here is a test."""
