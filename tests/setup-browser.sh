#!/bin/sh
# Finds a browser, installs what drives it in tests/browser, and prints the path of the browser.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
for name in chromium chromium-browser google-chrome; do
    browser=$(command -v "$name") && break
    browser=
done
[ -n "$browser" ] || {
    echo "setup-browser: no Chromium was found; on Debian: apt-get install chromium" >&2
    exit 1
}
"$here/npm-ci.sh" "$here/browser"
echo "$browser"
