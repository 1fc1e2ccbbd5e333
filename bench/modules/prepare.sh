#!/bin/sh
# Installs the peers at their pinned versions and release builds of our modules below target/, nowhere else.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
venv=$target/bench-venv node=$target/bench-node

if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/"
fi
rm -rf "$target/bench-wheel"
"$venv/bin/maturin" build --quiet --release --manifest-path "$root/bindings-python/Cargo.toml" \
    --interpreter "$venv/bin/python" --out "$target/bench-wheel"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$target"/bench-wheel/*.whl

mkdir -p "$node"
if ! cmp -s "$here/package.json" "$node/package.json"; then
    rm -rf "$node/node_modules" "$node/package-lock.json"
    cp "$here/package.json" "$node/"
    npm install --silent --no-audit --no-fund --prefix "$node"
fi
# An import looks for packages beside its own file.
cp "$here"/*.mjs "$here"/*.cjs "$node/"
ours=$node/node_modules/kubectl-wsx
rm -rf "$ours"
mkdir -p "$ours"
cd "$root/bindings-node"
[ -d node_modules ] || npm ci --silent --no-audit --no-fund
npx napi build --platform --release --output-dir "$ours/native" --js index.js --dts index.d.ts >/dev/null
npx tsc
cp -R package.json index.mjs dist "$ours/"
