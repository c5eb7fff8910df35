"""One portrait and one speech recording in, a talking video out.

    python inference.py                                        # the example portrait and speech
    python inference.py --source_path me.jpg --audio_path hello.wav --output_path hello.mp4
"""

from core.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
