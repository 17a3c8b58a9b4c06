#!/bin/sh
# Trains the embedded model on an accelerator, in three calls of at most ten minutes each on one machine:
#     tests/gpu/train.sh start              unpacks .gpu/, starts the training in the background, watches it
#     tests/gpu/train.sh watch SECONDS      watches on; may be repeated
#     tests/gpu/train.sh collect FOLDER     figures and sheet, and the model in files of at most 15 MB, to FOLDER
# RECIPE (easel-gpu), DEVICE (cuda) and MINUTES (of every stage, for a rehearsal) can be set in the environment.
set -eu
cd "$(dirname "$0")/../.."
recipe=${RECIPE:-easel-gpu}
device=${DEVICE:-cuda}
work=${WORK:-/tmp/easel-gpu}
export PYTHONPATH="$work/site:$PWD" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
python=${PYTHON:-python3}

watch() {
    end=$(($(date +%s) + $1))
    while [ "$(date +%s)" -lt "$end" ] && [ ! -e "$work/ended" ]; do sleep 2; done
    tail -n 25 "$work/log"
    if [ -e "$work/ended" ]; then echo "ended with $(cat "$work/ended")"; else echo "still training"; fi
}

case $1 in
start)
    mkdir -p "$work/models/checkpoints"
    if [ -z "${SKIP_WHEELS:-}" ]; then
        $python -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$work/site" .gpu/wheels/*.whl
    fi
    cp "webui/training/recipes/$recipe.toml" "$work/$recipe.toml"
    if [ -n "${MINUTES:-}" ]; then sed -i "s/^minutes = .*/minutes = $MINUTES/" "$work/$recipe.toml"; fi
    rm -f "$work/ended"
    # shellcheck disable=SC2016
    setsid sh -c '
        python=$1 recipe=$2 device=$3 work=$4
        easel="import sys; from webui.cli import main; sys.exit(main(sys.argv[1:]))"
        {
            $python -c "$easel" train "$work/$recipe.toml" --data .gpu/data --run "$work/run" --device "$device" \
                --start-from .gpu/words --only first-stage denoiser --output "$work/models/checkpoints/easel" &&
            $python -c "$easel" evaluate "$work/$recipe.toml" --data .gpu/data --run "$work/run" --device "$device" \
                --models-dir "$work/models" --checkpoint easel --output "$work/figures"
        } >>"$work/log" 2>&1
        echo $? >"$work/ended"
    ' sh "$python" "$recipe" "$device" "$work" </dev/null >/dev/null 2>&1 &
    watch "${2:-540}"
    ;;
watch)
    watch "$2"
    ;;
collect)
    out=$2
    mkdir -p "$out"
    cp "$work/log" "$work"/figures/figures.json "$work"/figures/sheet.png "$out/" || true
    # One archive, cut into pieces that may travel: `cat model.part* | tar x` puts it together.
    tar c -C "$work/models/checkpoints" easel | split -b 15m - "$out/model.part"
    ls -l "$out"
    ;;
*)
    sed -n '2,6p' "$0"
    exit 2
    ;;
esac
