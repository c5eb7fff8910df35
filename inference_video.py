"""A video and a speech recording in, the video with new lips out: dubbing, the fork's script of this name (spec 17.2).

    python inference_video.py --source_video example/avatar.mp4 --audio example/speech.wav --output output/dub.mp4

Takes all flags of inference.py; see --help.
"""

from core.cli.program import leave
from inference import main

REQUIRED = ("source_path", "audio_path", "output_path")

if __name__ == "__main__":
    leave(main(required=REQUIRED))
