#!/bin/sh
# Writes the lock files anew: the newest versions that pyproject.toml allows, for every supported Python and platform,
# with the hashes of their files.
#
#   requirements.lock           everything of `make venv`: the product, its tests, the build back end
#   requirements-runtime.lock   of these, what the running product needs
#   requirements-build.lock     of these, what makes a wheel of it
#
# Needs uv (set UV to its path). The locks name no package index: pip uses the one this machine is set up for.
set -eu

root=$(dirname -- "$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)")
cd "$root"
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

command -v "${UV:-uv}" >/dev/null || { echo "setup: needs uv to solve versions for all platforms; set UV=PATH" >&2; exit 1; }

# lock NAME ARGUMENT...: one lock file, from what uv solves with these arguments; reads standard input for `-`.
lock() {
    name=$1
    shift
    {
        echo '# Written by `make lock` from pyproject.toml; do not edit.'
        "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
            --no-emit-index-url --no-emit-find-links --no-header "$@"
    } >"$new/$name"
    if grep -nE '://|^-|index' "$new/$name"; then
        echo "setup: $name would name a package index (above)" >&2
        exit 1
    fi
    echo "setup: $name: $(grep -c == "$new/$name") packages"
}

echo hatchling | lock requirements.lock --upgrade --extra test --extra postgresql pyproject.toml -
lock requirements-runtime.lock --no-annotate --constraint "$new/requirements.lock" --extra postgresql pyproject.toml
echo hatchling | lock requirements-build.lock --no-annotate --constraint "$new/requirements.lock" -
cp "$new"/requirements*.lock .
