#!/usr/bin/env bash
# Outlines the brain metastases in everything under _inputs/ and writes the results under _results/.
# With an empty _inputs/ it shows what it does on a made-up case. Options are those of `metseg segment`.
set -euo pipefail

here=$(cd -P -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
source "$here/scripts/environment.sh"
ensure_environment "$here" "$here/.venv" .

shopt -s nullglob
inputs=("$here/_inputs"/*)
if ((${#inputs[@]})); then
    exec "$here/.venv/bin/metseg" segment "$here/_inputs" -o "$here/_results" "$@"
fi
say "There is nothing in $here/_inputs yet: put NIfTI files or DICOM folders there. This run shows a made-up case."
exec "$here/.venv/bin/metseg" demo -o "$here/_results" "$@"
