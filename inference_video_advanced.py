r"""Preserved motion and blend control together, as in the fork's script of this name (spec 17.2).

    python inference_video_advanced.py --source_video example/avatar.mp4 --audio example/speech.wav \
        --output output/advanced.mp4 --motion_frames 50 --blend_mode strong

Takes all flags of inference.py.
"""

from core.cli.program import leave
from inference import main

REQUIRED = ("source_path", "audio_path", "output_path")

if __name__ == "__main__":
    leave(main(required=REQUIRED, motion_frames=100, blend_mode="blend"))
