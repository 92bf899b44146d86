#!/bin/sh
# Runs inside mmdebstrap, with the new root as its argument: puts node and npm there, fills npm's cache with what the
# lesson's lock file names, and packs node with its libraries for the other stand-in.
#
#   NODE_PREFIX  where this machine's node and npm lie; empty when the packages brought them
#   LESSON       the folder with package.json and package-lock.json
#   BUNDLE       the folder that the packed node goes to
#   CA_FILE      this machine's certificates; empty when it has none
set -eu
root=$1

if [ -n "$NODE_PREFIX" ]; then
    mkdir -p "$root/usr/local/lib/node_modules"
    cp -L "$NODE_PREFIX/bin/node" "$root/usr/local/bin/node"
    cp -R "$NODE_PREFIX/lib/node_modules/npm" "$root/usr/local/lib/node_modules/npm"
    ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
    ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
    chown -R 0:0 "$root/usr/local"
fi
chroot "$root" groupadd --gid 1000 node
chroot "$root" useradd --uid 1000 --gid node --shell /bin/bash --create-home node

cat >>"$root/etc/os-release" <<EOF
VARIANT="Stand-in for the image node:12-stretch, made of Debian packages by stagewright's cargo xtask"
VARIANT_ID=stagewright-stand-in
EOF

# npm's cache: with it, \`npm ci\` in a build needs no network.
mkdir "$root/tmp/seed"
cp "$LESSON/package.json" "$LESSON/package-lock.json" "$root/tmp/seed/"
set -- HOME=/root npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false
if [ -n "$CA_FILE" ]; then
    cp "$CA_FILE" "$root/tmp/seed/ca.crt"
    set -- "$@" NODE_EXTRA_CA_CERTS=/tmp/seed/ca.crt
fi
chroot "$root" env -C /tmp/seed "$@" npm ci --loglevel=error
rm -rf "$root/tmp/seed" "$root/root/.npm/_logs" "$root/root/.npm/_update-notifier-last-checked"

stage=$(mktemp -d)
node=$(chroot "$root" sh -c 'readlink -f "$(command -v node)"')
mkdir -p "$stage/usr/bin"
cp "$root$node" "$stage/usr/bin/node"
# ldd prints `name => path (address)` or, for the loader, `path (address)`.
chroot "$root" ldd "$node" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$stage${library%/*}"
    cp -L "$root$library" "$stage$library"
done
find "$stage" -type d -exec chmod 755 {} +
tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - . |
    gzip -n >"$BUNDLE/nodejs.tar.gz"
chroot "$root" node --version | sed 's/^v//' >"$BUNDLE/nodejs.version"
rm -rf "$stage"
