#!/bin/sh
# Writes requirements.lock anew: the newest versions that pyproject.toml allows, for every supported Python and
# platform, with the hashes of their files. It holds everything of `make venv`: the product, its tests, the build back end.
#
# Needs uv (set UV to its path). The lock names no package index: pip uses the one this machine is set up for.
set -eu

root=$(dirname -- "$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)")
cd "$root"
new=$(mktemp)
trap 'rm -f "$new"' EXIT

command -v "${UV:-uv}" >/dev/null || { echo "setup: needs uv to solve versions for all platforms; set UV=PATH" >&2; exit 1; }
{
    echo '# Written by `make lock` from pyproject.toml; do not edit.'
    echo hatchling | "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --upgrade \
        --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
        --extra test --extra postgresql pyproject.toml -
} >"$new"
if grep -nE '://|^-|index' "$new"; then
    echo "setup: the lock would name a package index (above)" >&2
    exit 1
fi
cat "$new" >requirements.lock
echo "setup: $(grep -c == requirements.lock) packages locked"
