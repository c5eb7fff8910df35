"""Sessions of unknown length: live frames, pace, playback, and turns of a conversation."""
