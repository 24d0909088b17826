#!/usr/bin/env bash
# Outlines the brain metastases in everything under _inputs/ and writes the results under _results/.
# A model of nnU-Net in nnUNet_results/ beside it is used instead of metseg's own; it is imported into _models/ once.
# With an empty _inputs/ it shows what it does on a made-up case. Options are those of `metseg segment`.
set -euo pipefail

here=$(cd -P -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
source "$here/scripts/environment.sh"
ensure_environment "$here" "$here/.venv" .

shopt -s nullglob
inputs=("$here/_inputs"/*)
if ((${#inputs[@]})); then
    model=()
    if [[ -d $here/nnUNet_results ]]; then
        "$here/.venv/bin/metseg" models import "$here/nnUNet_results" -o "$here/_models" --name nnunet_results --force --quiet
        model=(--model "$here/_models/nnunet_results")
    fi
    exec "$here/.venv/bin/metseg" segment "$here/_inputs" -o "$here/_results" ${model[@]+"${model[@]}"} "$@"
fi
say "There is nothing in $here/_inputs yet: put NIfTI files or DICOM folders there. This run shows a made-up case."
exec "$here/.venv/bin/metseg" demo -o "$here/_results" "$@"
