"""The part of YAML in which OpenCV's FileStorage and ROS write calibrations, read without a package for YAML.

Mappings and lists by indentation, `[...]` and `{...}` over several lines, numbers, quoted and plain text, comments, and
tags, which are ignored. Anchors, block text and several documents are refused.
"""

import re
from typing import Any

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
_NAME_OF_DIGITS = re.compile(r"0\d+$")  # EasyMocap calls cameras 01, 02, ...
_NOT_FINITE = {".nan": "nan", ".inf": "inf", "-.inf": "-inf", "+.inf": "inf"}
_TOKEN = re.compile(_QUOTED.pattern + r"|[\[\]{},]|:(?=\s)|(?:[^\s\[\]{},:\"']|:(?!\s))+")
_NO_NAME = "[]{},#&*!|>'\"%@`"
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "~": None}
_DEEPEST = 20


class _Lines:
    """Lines that say something, with their indentation; a cursor goes through them."""

    def __init__(self, text: str, of: str):
        self.of = of
        self.at = 0
        self.rows: list[tuple[int, str, int]] = []
        for number, line in enumerate(text.splitlines(), 1):
            bare = _without_comment(line).rstrip()
            if not bare.strip() or bare.startswith("%") or bare.strip() in ("---", "..."):
                continue
            if "\t" in bare[: len(bare) - len(bare.lstrip())]:
                raise self.error("is indented by tabs", number)
            self.rows.append((len(bare) - len(bare.lstrip()), bare.strip(), number))

    def error(self, what: str, number: int | None = None) -> ValueError:
        if number is None:
            number = self.rows[min(self.at, len(self.rows) - 1)][2] if self.rows else 1
        return ValueError(f"{self.of}, line {number}, {what}; was the file cut off or changed by hand?")


def parse_yaml(text: str, of: str) -> dict[str, Any]:
    """A mapping out of the simple YAML of calibration files.

    Args:
        text: of the file.
        of: its name, for messages.

    Raises:
        ValueError: it is something else; the message names the line.
    """
    lines = _Lines(text, of)
    if not lines.rows:
        raise ValueError(f"{of} is empty.")
    value = _block(lines, lines.rows[0][0], 0)
    if lines.at < len(lines.rows):
        raise lines.error("has another indentation")
    if not isinstance(value, dict):
        raise ValueError(f"{of} is no mapping of names to values.")
    return value


def _block(lines: _Lines, indent: int, depth: int) -> Any:
    """The mapping or list whose lines have an indentation."""
    if depth > _DEEPEST:
        raise lines.error("is nested too deeply")
    if lines.rows[lines.at][1].startswith("- ") or lines.rows[lines.at][1] == "-":
        return _list(lines, indent, depth)
    made: dict[str, Any] = {}
    while lines.at < len(lines.rows) and lines.rows[lines.at][0] == indent:
        line = lines.rows[lines.at][1]
        found = _key(line)
        if found is None:
            raise lines.error("has no name and colon")
        key, rest = found
        if key in made:
            raise lines.error(f"has the name '{key:.40}' again")
        made[key] = _value(lines, rest, indent, depth)
    return made


def _list(lines: _Lines, indent: int, depth: int) -> list[Any]:
    made = []
    while lines.at < len(lines.rows) and lines.rows[lines.at][0] == indent:
        line = lines.rows[lines.at][1]
        if not line.startswith("- ") and line != "-":
            break
        inner = line[1:].strip()
        if _key(inner):  # a mapping that begins on this line
            row = lines.rows[lines.at]
            inside = indent + len(line) - len(line[1:].lstrip())
            lines.rows[lines.at] = (inside, inner, row[2])
            made.append(_block(lines, inside, depth + 1))
        else:
            made.append(_value(lines, inner, indent, depth))
    return made


def _value(lines: _Lines, rest: str, indent: int, depth: int) -> Any:
    """What stands behind a name or a dash: on its line, or in lines with more indentation."""
    rest = re.sub(r"^!{1,2}[\w:,.-]*\s*", "", rest).strip()
    if rest[:1] in ("&", "*", "|", ">"):
        raise lines.error("has an anchor or block text, which calibration files do not")
    if rest[:1] in ("[", "{"):
        return _flow(lines, rest)
    lines.at += 1
    if rest:
        return _scalar(rest)
    if lines.at < len(lines.rows):
        deeper = lines.rows[lines.at][0]
        if deeper > indent or (deeper == indent and lines.rows[lines.at][1].startswith("- ")):
            return _block(lines, deeper, depth + 1)
    return None


def _flow(lines: _Lines, rest: str) -> Any:
    """What is between brackets, which may go on over several lines."""
    parts, open_ = [rest], _opened(rest)
    while open_ > 0:
        lines.at += 1
        if lines.at >= len(lines.rows):
            raise lines.error("has a bracket that is not closed")
        parts.append(lines.rows[lines.at][1])
        open_ += _opened(parts[-1])
    if open_ < 0:
        raise lines.error("closes a bracket that is not open")
    tokens = _TOKEN.findall(" ".join(parts))
    value, used = _flow_value(lines, tokens, 0, 0)
    if used != len(tokens):
        raise lines.error("has something behind a bracket")
    lines.at += 1
    return value


def _flow_value(lines: _Lines, tokens: list[str], at: int, depth: int) -> tuple[Any, int]:
    if at >= len(tokens) or depth > _DEEPEST:
        raise lines.error("has brackets that cannot be read")
    token = tokens[at]
    if token == "[":
        items: list[Any] = []
        at += 1
        while at < len(tokens) and tokens[at] != "]":
            value, at = _flow_value(lines, tokens, at, depth + 1)
            items.append(value)
            at = _after_comma(lines, tokens, at, "]")
        return items, at + 1
    if token == "{":
        made: dict[str, Any] = {}
        at += 1
        while at < len(tokens) and tokens[at] != "}":
            if at + 1 >= len(tokens) or tokens[at + 1] != ":" or tokens[at] in "[]{},:":
                raise lines.error("has braces without name and colon")
            made[str(_scalar(tokens[at]))], at = _flow_value(lines, tokens, at + 2, depth + 1)
            at = _after_comma(lines, tokens, at, "}")
        return made, at + 1
    if token in ("]", "}", ",", ":"):
        raise lines.error(f"has a '{token}' where a value should be")
    return _scalar(token), at + 1


def _after_comma(lines: _Lines, tokens: list[str], at: int, end: str) -> int:
    if at < len(tokens) and tokens[at] == ",":
        return at + 1
    if at >= len(tokens) or tokens[at] != end:
        raise lines.error("has brackets that do not match")
    return at


def _opened(text: str) -> int:
    """Brackets that a line opens and does not close."""
    bare = _QUOTED.sub("", text)
    return sum(bare.count(mark) for mark in "[{") - sum(bare.count(mark) for mark in "]}")


def _key(line: str) -> tuple[str, str] | None:
    """The name before a colon, and what stands behind it; None if there is none."""
    if quoted := _QUOTED.match(line):
        rest = line[quoted.end() :].lstrip()
        return (quoted[0][1:-1], rest[1:].strip()) if rest[:2] in (":", ": ") else None
    end = len(line) - 1 if line.endswith(":") and ": " not in line else line.find(": ")
    name = line[: max(end, 0)].strip()
    return (name, line[end + 1 :].strip()) if name and name[0] not in _NO_NAME else None


def _without_comment(line: str) -> str:
    quote = ""
    for place, mark in enumerate(line):
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "\"'":
            quote = mark
        elif mark == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place]
    return line


def _scalar(text: str) -> Any:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    lower = text.lower()
    if lower in _WORDS:
        return _WORDS[lower]
    if lower in _NOT_FINITE:
        return float(_NOT_FINITE[lower])
    if _NUMBER.match(text) and not _NAME_OF_DIGITS.match(text):
        return int(text) if re.fullmatch(r"[-+]?\d{1,15}", text) else float(text)
    return text
