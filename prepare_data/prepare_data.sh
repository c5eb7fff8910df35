#!/usr/bin/env bash
# Videos to training features: bash prepare_data/prepare_data.sh DATA_INFO_JSON DATA_LIST_JSON DATA_PRELOAD_PKL [OPTIONS]
# PYTHON chooses the interpreter. Options are those of prepare.py: --workers 4, --data_root DIR, --engine ray, ...
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "error: usage: bash prepare_data/prepare_data.sh DATA_INFO_JSON DATA_LIST_JSON DATA_PRELOAD_PKL [OPTIONS]" >&2
    exit 2
fi
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
exec "${PYTHON:-python}" "$here/prepare.py" "$@"
