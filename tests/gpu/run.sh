#!/bin/sh
# Proves the CUDA half of the engine on a machine with a card, in one command of under 8 minutes; no network needed:
#     tests/gpu/run.sh FOLDER        figures go to FOLDER/proof.json
# Packages that the machine lacks are taken from .gpu/wheels, which tests/gpu/pack.sh gathers beforehand. DEVICE
# (cuda:0), PYTHON (python3) and OPTIONS (e.g. --tiny) can be set in the environment.
set -eu
out=$1
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/../.."
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
python=${PYTHON:-python3}
if [ -z "${SKIP_WHEELS:-}" ]; then
    $python -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$site" .gpu/wheels/*.whl
fi
export PYTHONPATH="$site:$PWD" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
# shellcheck disable=SC2086
$python -m tests.gpu.prove --device "${DEVICE:-cuda:0}" --output "$out" ${OPTIONS:-} 2>&1 | tee "$out/log"
grep -q 'failed: none' "$out/log"
