"""Real-time avatars for servers and voice agents: streaming, WebRTC, adapters."""
