#!/bin/sh
# Puts bundles and sample pictures into the app: copy_models.sh REPOSITORY RESOURCES
#
# Each folder of out/ios with a coreml folder in it becomes Models/NAME, without the safetensors files, which are for
# parity checks. Without any the app starts empty and takes bundles from Files.
set -eu
repository=$1 resources=$2

rm -rf "$resources/Models" "$resources/Samples"
mkdir -p "$resources/Models" "$resources/Samples"
for bundle in "$repository"/out/ios/*/; do
    [ -f "$bundle/coreml/metadata.json" ] || continue
    cp -R "$bundle/coreml" "$resources/Models/$(basename "$bundle")"
    rm -f "$resources/Models/$(basename "$bundle")"/*.safetensors
done

assets=$repository/nexus_edge/assets
cp "$assets/tiny_phi3_v/heldout/004.png" "$assets/tiny_phi3_v/heldout/000.png" "$resources/Samples"
cp "$assets/tiny_biomedclip/heldout/cell_000.jpg" "$assets/tiny_biomedclip/heldout/cell_030.jpg" \
    "$assets/tiny_biomedclip/heldout/cell_060.jpg" "$resources/Samples"
