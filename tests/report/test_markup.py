from jacexp.report.markup import Document, Section, escape, latex, markdown

SHEET = Document(
    title="A title",
    intro=("Of `code`, 5 %.",),
    sections=(
        Section("First", ("a", "b"), (("`x_1`", "1 ± 2"),), ("a note",)),
        Section("Second", ("a", "b"), ()),
    ),
    closing=(Section("Missing", ("what",), (("y | z",),)),),
)


def test_markdown():
    assert markdown(SHEET) == (
        "# A title\n\nOf `code`, 5 %.\n\n## First\n\n| a | b |\n|---|---|\n| `x_1` | 1 ± 2 |\n\n- a note\n\n"
        "## Second\n\n## Missing\n\n| what |\n|---|\n| y \\| z |\n"
    )


def test_latex_keeps_the_tables_and_leaves_the_closing_out():
    assert latex(SHEET).splitlines() == [
        "% A title",
        "% Of code, 5 %.",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"\multicolumn{2}{l}{\emph{First}} \\",
        r"a & b \\",
        r"\midrule",
        r"\texttt{x\_1} & 1 $\pm$ 2 \\",
        "% a note",
        r"\midrule",
        r"\multicolumn{2}{l}{\emph{Second}} \\",
        r"a & b \\",
        r"\midrule",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_escape():
    assert escape("50 % of a_b & {c} **d** −1") == r"50 \% of a\_b \& \{c\} \textbf{d} $-$1"
