#!/usr/bin/env bash
# Installs what the tests need (once) and runs them. Arguments go to pytest: bash scripts/test.sh -k pipeline
# With --all first, PyTorch and the other optional packages are installed too; otherwise their tests are skipped.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/scripts/setup_env.sh"
extra=test
if [ "${1:-}" = "--all" ]; then
    extra=test-all
    shift
fi
setup_env "$extra"
export OMP_NUM_THREADS=1 # two threads on two cores that other processes share are slower than one
cd "$ROOT"
exec "$PYTHON" -m pytest "$@"
