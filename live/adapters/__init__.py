"""Avatars inside voice-agent frameworks; each adapter needs its framework installed."""
