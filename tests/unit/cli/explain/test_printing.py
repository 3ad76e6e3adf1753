import json

from pgcast.cli.explain.asking import Report
from pgcast.cli.explain.printing import json_of, text_of
from pgcast.matching.explanation import Delivery, Judged, Outcome, Step
from pgcast.model.change import ABSENT, Kind

ASKED = Judged("title=match.^m", False, value=b"tea\x1b[31m", operands=(b"^m",), type_name="text", is_asked=True)
MISSING = Judged("price=in.(1,null)", None, "why", ABSENT, (b"1", None), "numeric")
GROUP = Judged("or=(title.match.^m,price.in.(1,null))", None, "what is unknown decides", parts=(ASKED, MISSING))
TRUE = Judged("id=in.()", True, value=None, operands=(), type_name="int8")
GONE = Judged("nope=eq.1", None, "no such column")
REPORT = Report(
    Kind.INSERT,
    ("public", "todos"),
    "5f0c2a9e-000000000a3b4c58-0000002a",
    Delivery.HELD_BACK,
    (
        Step("table", Outcome.PASSED, "public.todos"),
        Step("filter", Outcome.HELD_BACK, "for the new row", "a hint", (TRUE, GROUP, GONE)),
    ),
)


def test_a_report_for_people():
    assert text_of(REPORT).splitlines() == [
        "INSERT of public.todos, 5f0c2a9e-000000000a3b4c58-0000002a: held back by filter",
        "",
        "  passed        table        public.todos",
        "  held back     filter       for the new row",
        "                             a hint",
        "                true     id=in.()   [NULL with nothing, as int8]",
        "                unknown  or=(title.match.^m,price.in.(1,null))   what is unknown decides",
        r"                  false    title=match.^m   [tea\u001b[31m with ^m, as text, by Postgres]",
        "                  unknown  price=in.(1,null)   [not carried with 1, NULL, as numeric]: why",
        "                unknown  nope=eq.1   no such column",
    ]


def test_a_report_for_programs():
    read = json.loads(json_of(REPORT))
    assert (read["verdict"], read["held_back_by"], read["position"]) == ("held back", ["filter"], REPORT.position)
    table, filtered = read["steps"]
    assert table == {"step": "table", "outcome": "passed", "detail": "public.todos"}
    assert filtered["hint"] == "a hint"
    empty, group, gone = filtered["conditions"]
    assert (empty["value"], empty["is_carried"], empty["compared_with"]) == (None, True, [])
    asked, missing = group["parts"]
    assert asked == {
        "condition": "title=match.^m",
        "verdict": False,
        "is_carried": True,
        "value": "tea\x1b[31m",
        "compared_with": ["^m"],
        "type": "text",
        "decided_by": "Postgres",
    }
    assert (missing["verdict"], missing["is_carried"], missing["why"]) == (None, False, "why")
    assert gone == {"condition": "nope=eq.1", "verdict": None, "why": "no such column"}


def test_what_has_no_table_is_printed_all_the_same():
    report = Report(Kind.INSERT, ("", ""), None, Delivery.HELD_BACK, (Step("join", Outcome.HELD_BACK, "refused"),))
    assert text_of(report).startswith("INSERT: held back by join\n")
    assert json.loads(json_of(report))["table"] is None


def test_what_is_delivered_names_no_step():
    report = Report(Kind.INSERT, ("public", "todos"), None, Delivery.LEFT, ())
    assert text_of(report) == "INSERT of public.todos: delivered as left\n"
    assert json.loads(json_of(report))["held_back_by"] == []
