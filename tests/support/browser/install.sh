#!/usr/bin/env bash
# Installs Chromium with its driver from Debian packages, and axe-core from npm into the folder of the tests.
set -euo pipefail
cd "$(dirname "$0")"

axe="axe-core-4.14.1"
packages=()
command -v chromium >/dev/null || packages+=(chromium)
command -v chromedriver >/dev/null || packages+=(chromium-driver)
[[ -e $axe.tgz ]] || command -v npm >/dev/null || packages+=(npm)
if ((${#packages[@]} > 0)); then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
[[ -e $axe.tgz ]] || npm pack --silent "axe-core@${axe##*-}" >/dev/null
