r"""Dubbing that keeps blinks, tilts and smiles of all frames, with lips at rest as in the first, neutral frames.

    python inference_video_preserve_motion.py --source_video example/avatar.mp4 --audio example/speech.wav \
        --output output/natural.mp4 --motion_frames 50

Takes all flags of inference.py. The fork promised this but kept every frame's lips, which --motion_legacy does too
(spec pipeline.md 17.3).
"""

from core.cli.program import leave
from inference import main

REQUIRED = ("source_path", "audio_path", "output_path")

if __name__ == "__main__":
    leave(main(required=REQUIRED, motion_frames=100))
