#!/usr/bin/env bash
# Outlines the brain metastases in everything under _inputs/ and writes the results under _results/.
# A model of nnU-Net beside it is used instead of metseg's own: nnUNet_results/, or else nnUNet_results.zip, or else the
# only zip that holds one. It is imported into _models/ once.
# With an empty _inputs/ it shows what it does on a made-up case. Options are those of `metseg segment`.
set -euo pipefail

here=$(cd -P -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
source "$here/scripts/environment.sh"
ensure_environment "$here" "$here/.venv" .

# Prints the folder or zip of the model to use, if there is one. A zip's list of names is at its end.
find_model() {
    local zip found=()
    for zip in "$here/nnUNet_results" "$here/nnUNet_results.zip"; do
        if [[ -e $zip ]]; then
            printf '%s\n' "$zip"
            return 0
        fi
    done
    for zip in "$here"/*.zip; do
        if LC_ALL=C grep -qaE '__[A-Za-z0-9_]+/fold_[a-z0-9]+/checkpoint_(final|best)\.pth' <(tail -c 1000000 -- "$zip"); then
            found+=("$zip")
        fi
    done
    if ((${#found[@]} > 1)); then
        say "Several zips hold a model of nnU-Net: ${found[*]##*/}. Name the one to use nnUNet_results.zip."
        return 1
    fi
    printf '%s\n' "${found[@]+"${found[@]}"}"
}

shopt -s nullglob
inputs=("$here/_inputs"/*)
if ((${#inputs[@]})); then
    model=()
    source=$(find_model)
    if [[ -n $source ]]; then
        "$here/.venv/bin/metseg" models import "$source" -o "$here/_models" --name nnunet_results --force --quiet
        model=(--model "$here/_models/nnunet_results")
    fi
    exec "$here/.venv/bin/metseg" segment "$here/_inputs" -o "$here/_results" ${model[@]+"${model[@]}"} "$@"
fi
say "There is nothing in $here/_inputs yet: put NIfTI files or DICOM folders there. This run shows a made-up case."
exec "$here/.venv/bin/metseg" demo -o "$here/_results" "$@"
