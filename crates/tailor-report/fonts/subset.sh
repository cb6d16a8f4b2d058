#!/bin/sh
# Cuts DejaVu Sans down to what plots need: Latin letters, punctuation, arrows and mathematical signs.
#     pip install fonttools && fonts/subset.sh FOLDER-OF-DEJAVU-FONTS
set -eu
for face in DejaVuSans DejaVuSans-Bold; do
    pyftsubset "$1/$face.ttf" --output-file="$(dirname "$0")/$face-Latin.ttf" \
        --layout-features=kern --no-hinting --desubroutinize \
        --unicodes='U+0020-007E,U+00A0-017F,U+02C6,U+02DC,U+2009,U+2010-2015,U+2018-201E,U+2020,U+2022,U+2026,U+202F,U+2032,U+2033,U+2039,U+203A,U+20AC,U+2190-2194,U+2212,U+221E,U+2248,U+2260,U+2264,U+2265,U+25A1,U+FFFD'
done
