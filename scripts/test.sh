#!/usr/bin/env bash
# Installs what the tests need (once) and runs them. Arguments go to pytest: bash scripts/test.sh -k pipeline
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/scripts/setup_env.sh"
setup_env test
cd "$ROOT"
exec "$PYTHON" -m pytest "$@"
