//! Rules that name what this workspace does not have: they run, and give nothing.

mod common;

use common::{text, vidette};

#[test]
fn what_nobody_gave_is_empty_whatever_is_asked_of_it() {
    for (query, row) in [
        ("_GetWatchlist('Servers') | where Owner == 'x' | project Owner", ""),
        ("print Host = 'a' | where Host !in ((_GetWatchlist('Servers') | project ['Host Name'])) | project Host", r#"{"Host":"a"}"#),
        ("print Host = 'a' | join kind=leftanti (_GetWatchlist('Servers')) on $left.Host == $right.['Host Name'] | project Host", r#"{"Host":"a"}"#),
        ("Event | summarize count() by MG", ""),
        ("print x = 1 | extend n = toscalar(Event | where MG == '' | count)", r#"{"x":1,"n":0}"#),
        ("DeviceEvents | evaluate bag_unpack(AdditionalFields) | where ScriptBlockText has 'x' | project ScriptBlockText", ""),
    ] {
        let output = vidette(&["query", query, "--format", "ndjson"]);
        assert_eq!((text(&output.stdout).trim(), output.status.code()), (row, Some(0)), "{query}: {}", text(&output.stderr));
    }
    let output = vidette(&["query", "_GetWatchlist('Servers') | count"]);
    assert!(text(&output.stderr).contains("no watchlist `Servers`: it is empty"), "{}", text(&output.stderr));
    let output = vidette(&["query", "Event | getschema | where ColumnName == 'mg' | count", "--format", "ndjson"]);
    assert_eq!(text(&output.stdout).trim(), r#"{"Count":0}"#, "a column that no reference lists is there only for queries that name it");
}
