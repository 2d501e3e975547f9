"""Skipped rows in words."""

from __future__ import annotations

from mellm_plugin.datasets.skipped import by_cause, row_ranges


def test_rows_are_told_by_their_causes() -> None:
    skipped = [
        {
            "where": f"t.csv, row {n}",
            "id": f"t/p/c{n}",
            "reasons": [f"onset: there is no file /a b/{n}.png; look", "apex: x"],
        }
        for n in (2, 3, 4, 9)
    ]
    skipped += [
        {"where": f"t.csv, row {n}", "id": "", "reasons": [f"id: found '{x}'"]} for n, x in ((7, "a"), (8, "b"))
    ]
    assert by_cause(skipped) == [
        "t.csv, rows 2-4, 9 (here row 2): onset: there is no file /a b/2.png; look",
        "t.csv, rows 2-4, 9 (here row 2): apex: x",
        "t.csv, rows 7, 8 (here row 7): id: found 'a' (likewise 'b')",
    ]
    assert row_ranges([5, 1, 2, 5]) == "1, 2, 5" and row_ranges(range(0, 100, 2), most=3) == "0, 2, 4 and 47 more"
