#!/usr/bin/env bash
# Installs what the tests need (once) and runs them. Arguments go to pytest: bash scripts/test.sh -k pipeline
# With --all first, PyTorch and the other optional packages are installed too, and the slow tests run as well.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/scripts/setup_env.sh"
if [ "${1:-}" = "--all" ]; then
    shift
    setup_env test-all
else
    setup_env test
    set -- -m "not slow" "$@"
fi
export OMP_NUM_THREADS=1 # two threads on two cores that other processes share are slower than one
cd "$ROOT"
exec "$PYTHON" -m pytest "$@"
