# Sourced by demo.sh and test.sh, after ROOT has been set. Defines:
#   setup_env [EXTRA]   makes PYTHON a Python that has the dependencies of pyproject.toml, those of [EXTRA] included.
# An active virtual environment is used as it is; otherwise .venv is created. What is installed is remembered by the
# checksum of pyproject.toml, so a second call costs a few milliseconds and prints nothing.

die() {
    echo "error: $*" >&2
    exit 2
}

# find_python: prints the first Python 3.10-3.12, else any newer one
find_python() {
    local candidate newer="" version
    for candidate in python3.12 python3.11 python3.10 python3 python python3.13 python3.14; do
        version=$("$candidate" -c 'import sys; print("%d%02d" % sys.version_info[:2])' 2>/dev/null) || continue
        if [ "$version" -ge 310 ] && [ "$version" -le 312 ]; then
            echo "$candidate"
            return
        fi
        [ "$version" -gt 312 ] && [ -z "$newer" ] && newer=$candidate
    done
    [ -n "$newer" ] || die "no Python 3.10-3.12 found; install one and run this again"
    echo "note: no Python 3.10-3.12 found, trying $("$newer" --version)" >&2
    echo "$newer"
}

# create_venv PYTHON DIR
create_venv() {
    rm -rf "$2"
    "$1" -m venv "$2" >/dev/null 2>&1 && return
    rm -rf "$2"
    "$1" -m virtualenv --quiet "$2" >/dev/null 2>&1 && return
    rm -rf "$2"
    die "$1 cannot create a virtual environment; install its venv module (on Debian and Ubuntu: apt install python3-venv)"
}

# requirements [EXTRA]: prints the dependencies that pyproject.toml lists, one a line
requirements() {
    "$PYTHON" - "$ROOT/pyproject.toml" "$@" <<'PY'
import sys

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
wanted = list(project["dependencies"])
for extra in sys.argv[2:]:
    wanted += project["optional-dependencies"][extra]
print("\n".join(wanted))
PY
}

setup_env() {
    local prefix stamp sum list
    prefix=${VIRTUAL_ENV:-$ROOT/.venv}
    stamp=$prefix/.ditto-${1:-default}
    sum=$(cksum <"$ROOT/pyproject.toml")
    PYTHON=$prefix/bin/python
    [ -x "$PYTHON" ] || PYTHON=$prefix/Scripts/python.exe
    if [ -x "$PYTHON" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ]; then
        return
    fi
    if [ -z "${VIRTUAL_ENV:-}" ] && ! "$PYTHON" -m pip --version >/dev/null 2>&1; then
        echo "creating $prefix" >&2
        create_venv "$(find_python)" "$prefix"
        PYTHON=$prefix/bin/python
        [ -x "$PYTHON" ] || PYTHON=$prefix/Scripts/python.exe
    fi
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "$PYTHON is too old; Python 3.10-3.12 is needed"
    echo "installing the dependencies into $prefix (once; a minute or two)" >&2
    list=$prefix/.ditto-requirements.txt
    requirements "$@" >"$list"
    "$PYTHON" -m pip install --quiet --no-compile --disable-pip-version-check --requirement "$list" ||
        die "installing the dependencies failed; the lines above say why"
    echo "$sum" >"$stamp"
}
