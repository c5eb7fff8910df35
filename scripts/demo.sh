#!/usr/bin/env bash
# Sets everything up (once) and makes a portrait speak: bash scripts/demo.sh [PORTRAIT] [AUDIO] [OUT]
# Without arguments: the portrait and the speech in example/, into output/result.mp4.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ $# -gt 3 ] || [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ]; then
    echo "usage: bash scripts/demo.sh [PORTRAIT] [AUDIO] [OUT]    (all options: python inference.py --help)" >&2
    exit 2
fi
. "$ROOT/scripts/setup_env.sh"
setup_env
exec "$PYTHON" "$ROOT/inference.py" ${1:+--source_path "$1"} ${2:+--audio_path "$2"} ${3:+--output_path "$3"}
