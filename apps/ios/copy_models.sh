#!/bin/sh
# Puts bundles and sample images into the app: copy_models.sh REPOSITORY RESOURCES
#
# Each bundle of out/ios with a coreml folder becomes Models/NAME: its manifest, in which a checkpoint's folder keeps its
# last name alone, the processor's files and the packages, without the safetensors files, which are for parity checks.
# Without any the app starts empty and takes bundles from Files.
set -eu
repository=$1 resources=$2

rm -rf "$resources/Models" "$resources/Samples"
mkdir -p "$resources/Models" "$resources/Samples"
for bundle in "$repository"/out/ios/*/; do
    [ -d "$bundle/coreml" ] && [ -f "$bundle/manifest.json" ] || continue
    model=$resources/Models/$(basename "$bundle")
    mkdir -p "$model"
    sed 's|\("checkpoint": "\)/.*/\([^/"]*"\)|\1\2|' "$bundle/manifest.json" > "$model/manifest.json"
    cp -R "$bundle/processor" "$bundle/coreml" "$model"
    rm -f "$model"/coreml/*.safetensors
done

assets=$repository/nexus_edge/assets
cp "$assets/tiny_phi3_v/heldout/004.png" "$assets/tiny_phi3_v/heldout/000.png" "$resources/Samples"
cp "$assets/tiny_biomedclip/heldout/cell_000.jpg" "$assets/tiny_biomedclip/heldout/cell_030.jpg" \
    "$assets/tiny_biomedclip/heldout/cell_060.jpg" "$resources/Samples"
