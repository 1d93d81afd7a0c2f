#!/usr/bin/env python3
"""manpages.py KNARR DIR: writes the manual pages into DIR, from what the program prints with --help, which is their only source."""
import pathlib
import re
import subprocess
import sys

OPTION = re.compile(r"^ {2,6}(-\S.*?)(?: {2,}(\S.*))?$")
WORD = re.compile(r"^ {2}(\S(?:.*?\S)?) {2,}(\S.*)$")


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def roff(text):
    """The text with what roff would take for its own protected."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def blocks(text):
    """Paragraphs: lists of lines between empty ones."""
    return [block.split("\n") for block in re.split(r"\n\s*\n", text.strip("\n"))]


def entries(block):
    """(term, explanation) of a block of options or words, or None when it is none."""
    found = []
    for line in block:
        match = OPTION.match(line) or WORD.match(line)
        if match and not line.startswith(" " * 8):
            found.append([match.group(1), match.group(2) or ""])
        elif found and line.startswith(" " * 8):
            found[-1][1] = (found[-1][1] + " " + line.strip()).strip()
        else:
            return None
    return found


def body(page, text):
    usage, *rest = blocks(text)
    page.append(".SH SYNOPSIS")
    for line in usage:
        page += [".B " + roff(line.replace("Usage:", "", 1).strip()), ".br"]
    section = None
    for block in rest:
        list_of = entries(block)
        is_options = bool(list_of) and list_of[0][0].startswith("-") and len(list_of[0][0]) > 1
        wanted = "OPTIONS" if is_options else "DESCRIPTION" if section in (None, "DESCRIPTION") else "NOTES"
        if wanted != section:
            page.append(".SH " + wanted)
            section = wanted
        elif not list_of:
            page.append(".PP")
        if list_of:
            for term, words in list_of:
                page += [".TP", ".B " + roff(term), roff(words)]
        else:
            page += [roff(line.strip()) for line in block]


def page_of(name, about, version, text):
    page = [f".TH {name.upper().replace('-', chr(92) + '-')} 1 \"\" \"knarr {version}\" \"Knarr\"", ".SH NAME", f"{roff(name)} \\- {roff(about)}"]
    body(page, text)
    return page


def see(names):
    return [".SH SEE ALSO", ",\n".join(f".BR {roff(name)} (1)" for name in names).replace(",\n", " ,\n")]


def main():
    knarr, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    version = run(knarr, "version").split()[1]
    overview = run(knarr, "help")
    about = {}
    for line in overview.split("\n"):
        match = re.match(r"^  (\w+) +(?:\S.*?) {2,}(\S.*)$", line)
        if match and match.group(1) != "version":
            about[match.group(1)] = match.group(2)
    names = [f"knarr-{command}" for command in about]
    directory.mkdir(parents=True, exist_ok=True)
    for command, words in about.items():
        page = page_of(f"knarr-{command}", words, version, run(knarr, command, "--help"))
        page += see(["knarr"])
        (directory / f"knarr-{command}.1").write_text("\n".join(page) + "\n")
    page = [f".TH KNARR 1 \"\" \"knarr {version}\" \"Knarr\"", ".SH NAME", "knarr \\- runs Linux programs as unikernels",
            ".SH SYNOPSIS", ".B knarr COMMAND", ".SH DESCRIPTION",
            "Knarr runs unmodified Linux programs, and images of containers, in virtual machines of their own, without Linux."]
    for block in blocks(overview)[1:]:
        head = block[0].strip()
        if not block[0].startswith(" ") and len(block) > 1:
            page.append(".SH " + head.upper())
            for line in block[1:]:
                match = re.match(r"^  (\w+) +(\S.*?) {2,}(\S.*)$", line)
                if match:
                    page += [".TP", f".B knarr {match.group(1)} {roff(match.group(2))}", roff(match.group(3))]
    page += see(names)
    (directory / "knarr.1").write_text("\n".join(page) + "\n")


main()
