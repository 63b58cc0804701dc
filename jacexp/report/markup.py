"""Sections of text cells, written as Markdown and as LaTeX (booktabs)."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """One table under one heading."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """What goes into one file: an introduction and several tables. Texts may hold `code` and **bold**."""

    title: str
    intro: tuple[str, ...]
    sections: tuple[Section, ...]
    closing: tuple[Section, ...] = ()
    """What Markdown shows beside the tables themselves, and LaTeX leaves out."""


def markdown(document: Document) -> str:
    """Write a document as Markdown."""
    lines = [f"# {document.title}", ""] if document.title else []
    for paragraph in document.intro:
        lines += [paragraph, ""]
    for section in (*document.sections, *document.closing):
        lines += [f"## {section.title}", ""] if section.title else []
        if section.rows:
            lines += [_line(section.headings), "|" + "---|" * len(section.headings)]
            lines += [*map(_line, section.rows), ""]
        lines += [*(f"- {note}" for note in section.notes), ""] if section.notes else []
    return "\n".join(lines)


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def latex(document: Document) -> str:
    """Write the tables of a document as one LaTeX ``tabular``, a group of rows a section; notes become comments."""
    lines = [f"% {plain(text)}" for text in (document.title, *document.intro)]
    width = max((len(section.headings) for section in document.sections), default=1)
    lines += [rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule"]
    for number, section in enumerate(document.sections):
        lines += [r"\midrule"] if number else []
        lines += [rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape(section.title)}}}}} \\"]
        lines += [_row(section.headings), r"\midrule", *map(_row, section.rows)]
        lines += [f"% {plain(note)}" for note in section.notes]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _row(cells: tuple[str, ...]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


SYMBOLS = {
    "\\": r"\textbackslash{}",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    "σ": r"$\sigma$",
    "ε": r"$\varepsilon$",
    "β": r"$\beta$",
    "†": r"$\dagger$",
}


def escape(text: str) -> str:
    """Write a text so that LaTeX prints it; `code` becomes a typewriter's letters, **bold** bold ones."""
    printed = "".join(SYMBOLS.get(character, character) for character in text)
    printed = re.sub(r"`([^`]*)`", r"\\texttt{\1}", printed)
    return re.sub(r"\*\*([^*]*)\*\*", r"\\textbf{\1}", printed)


def plain(text: str) -> str:
    """Write a text without marks, for a comment."""
    return text.replace("**", "").replace("`", "")
