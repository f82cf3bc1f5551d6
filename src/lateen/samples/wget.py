"""The program `wget` of the sample images, in terms of our `curl`: the flags that busybox's has.

wget [-q] [-S] [-O FILE] [-T SECONDS] [--header 'Name: value'] [--post-data DATA] [--spider] URL
"""

from __future__ import annotations

import sys
import urllib.parse

from lateen.samples import curl

_VALUES = {"-O": "-o", "-T": "-m", "--header": "-H", "--post-data": "-d", "-U": "-A"}
_FLAGS = {"--spider": "-I", "--no-check-certificate": "-k"}
_IGNORED = {"-q", "-c", "-S"}


def translate(argv: list[str]) -> list[str]:
    """The arguments of curl that mean the same; raises SystemExit for what has no counterpart."""
    words, result = list(argv), ["-s", "-S", "-f", "-L"]
    has_output = False
    while words:
        word = words.pop(0)
        flag, separator, value = word.partition("=")
        if word.startswith("-qO"):
            flag, separator, value = "-O", "=", word[3:] or (words.pop(0) if words else "")
        if flag in _VALUES:
            value = value if separator else (words.pop(0) if words else "")
            has_output |= flag == "-O"
            result += [_VALUES[flag], value]
        elif word in _FLAGS:
            result.append(_FLAGS[word])
            has_output = True
        elif not word.startswith("-"):
            if not has_output:
                result += ["-o", urllib.parse.urlsplit(word).path.rpartition("/")[2] or "index.html"]
            result.append(word)
        elif word not in _IGNORED:
            raise SystemExit(f"wget: unrecognized option: {word}")
    return result


if __name__ == "__main__":
    try:
        sys.exit(1 if curl.main(translate(sys.argv[1:])) else 0)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
