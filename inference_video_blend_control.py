r"""Dubbing with a chosen share of the rendered face.

    python inference_video_blend_control.py --source_video example/avatar.mp4 --audio example/speech.wav \
        --output output/blend.mp4 --blend_mode custom --blend_alpha 0.7

Takes all flags of inference.py. The fork's documents and formulas disagree; ours fade out at the border, except replace
(spec pipeline.md 14.4), and --blend_legacy gives those of the fork.
"""

from core.cli.program import leave
from inference import main

REQUIRED = ("source_path", "audio_path", "output_path")

if __name__ == "__main__":
    leave(main(required=REQUIRED, blend_mode="blend"))
