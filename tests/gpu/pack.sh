#!/bin/sh
# Gathers in .gpu/ (never tracked) what tests/gpu/run.sh and train.sh need on a machine without a network.
#     tests/gpu/pack.sh                        for run.sh: wheels that the machine may lack
#     tests/gpu/pack.sh DATA [CHECKPOINT]      for train.sh: the pictures of DATA, the folder that `launch.py train`
#                                              takes, and the text encoder of a checkpoint too. About 55 MB.
set -eu
cd "$(dirname "$0")/../.."
rm -rf .gpu && mkdir -p .gpu/wheels
if [ $# -gt 0 ]; then
    data=$1
    checkpoint=${2:-models/checkpoints/easel}
    mkdir -p .gpu/data .gpu/words
    for name in lobehub-fluent-emoji-3d iconify-json-fluent-emoji-flat iconify-json-noto iconify-json-twemoji \
        iconify-json-openmoji iconify-json-emojione iconify-json-emojione-v1 iconify-json-noto-v1 \
        iconify-json-fxemoji iconify-json-streamline emojibase-data wordnet-base; do
        cp "$data/$name"* .gpu/data/
    done
    cp -r "$checkpoint/text_encoder" "$checkpoint/tokenizer" .gpu/words/
fi
python=${PYTHON_VERSION:-3.12}
pin() { grep "^$1==" requirements.txt; }
.venv/bin/python -m pip download --quiet --no-deps --only-binary=:all: --python-version "$python" --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --dest .gpu/wheels "$(pin diffusers)" "$(pin resvg-py)" "$(pin pydantic)" importlib_metadata annotated-types \
    typing-inspection typing-extensions "pydantic_core==$(.venv/bin/python -c 'import pydantic_core; print(pydantic_core.__version__)')"
du -sh .gpu
