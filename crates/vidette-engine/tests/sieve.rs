//! Rows that a query cannot see are let go before it runs, and no others.

use arrow::array::{ArrayRef, DictionaryArray, Int64Array};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::MemTable;
use std::sync::Arc;
use vidette_engine::{Clock, Table, Workspace};
use vidette_kql::ScalarType;

const ROWS: usize = 1000;

fn columns() -> Vec<(String, ScalarType)> {
    [("Timestamp", ScalarType::DateTime), ("Name", ScalarType::String), ("Size", ScalarType::Long)].map(|(name, ty)| (name.to_owned(), ty)).to_vec()
}

fn workspace() -> Workspace {
    let mut workspace = Workspace::default();
    for table in ["T", "U"] {
        workspace.register(table, Table::empty(columns()));
    }
    workspace
}

/// Names `n0` to `n99` in turn, as the reader of events gives them.
fn batch() -> RecordBatch {
    let names: DictionaryArray<Int32Type> = (0..ROWS).map(|row| format!("n{}", row % 100)).collect::<Vec<_>>().iter().map(String::as_str).collect();
    let times: ArrayRef = Arc::new(Int64Array::from_iter_values((0..ROWS as i64).map(|row| 638_501_184_000_000_000 + row)));
    let sizes: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS as i64));
    RecordBatch::try_from_iter_with_nullable([("Timestamp", times, true), ("Name", Arc::new(names) as ArrayRef, false), ("Size", sizes, true)]).expect("three columns")
}

/// How many rows of `T` a query keeps.
fn kept(query: &str) -> usize {
    workspace().sieve([query], &["T", "U"]).map_or(ROWS, |sieve| sieve.keep("T", batch()).num_rows())
}

#[test]
fn rows_that_no_scan_lets_through_are_let_go() {
    for (query, rows) in [
        ("T | where Name == 'n7'", 10),
        ("T | where Name =~ 'N7' and Size > 500 | count", 5),
        ("T | extend L = strlen(Name) | where L == 2 and Size < 100 | summarize count() by Name", 10),
        ("union (T | where Name == 'n7'), (T | where Name == 'n8')", 20),
        ("let A = T | where Name == 'n7'; A | join kind=inner (T | where Name == 'n8') on $left.Size == $right.Size", 20),
        ("search 'n7'", 10),
        ("search in (T) 'n7' | take 5", 10),
        ("union * | where Name has 'n7'", 10),
        ("T | where Name == 'n7' and Timestamp > ago(1h)", 10),
        ("T | where Name == 'n7' and Size > toscalar(U | summarize max(Size))", 10),
        ("U | where Name in ((T | where Size < 10 | project Name))", 10),
        ("T | where Name == 'n7'; T | where Name == 'n8'", 20),
    ] {
        assert_eq!(kept(query), rows, "{query}");
    }
}

#[test]
fn of_several_queries_the_rows_of_each_stay() {
    let kept = |queries: &[&str]| workspace().sieve(queries.iter().copied(), &["T", "U"]).map_or(ROWS, |sieve| sieve.keep("T", batch()).num_rows());
    assert_eq!(kept(&["T | where Name == 'n7'", "U | count", "T | where Name == 'n8' and Size < 100"]), 11);
    assert_eq!(kept(&["T | where Name == 'n7'", "T | count"]), ROWS);
    assert_eq!(kept(&["T | where Name == 'n7'", "T | where Nothing == 1"]), ROWS);
}

#[test]
fn all_rows_stay_where_one_scan_wants_them_or_nothing_tells() {
    for query in [
        "T | count",
        "T | where Name == 'n7' | union T",
        "T | where Size > 10",
        "T | where Timestamp > ago(1h)",
        "T | where Name == 'n7' and Size > toscalar(T | summarize avg(Size))",
        "T | where Size > 2000 * rand()",
        "let S = materialize(T | where Size > 2000 * rand()); S | where Name == 'n7' | union S",
        "T | where Size == toscalar(U | summarize max(Size))",
        "T | where Name == 'n7' | evaluate bag_unpack(bag_pack('a', Size))",
        "T | top 3 by Size | where Name == 'n7'",
        "T | where Nothing == 1",
    ] {
        assert_eq!(kept(query), ROWS, "{query}");
    }
    assert_eq!(kept("U | where Name == 'n7'"), ROWS, "a table that nothing is known of");
}

#[test]
fn a_condition_that_most_rows_meet_is_asked_about_now_and_then() {
    let sieve = workspace().sieve(["T | where Name != 'n7'"], &[]).expect("a condition");
    let none = batch().slice(7, 1);
    let goes = || sieve.keep("T", none.clone()).num_rows() == 0;
    assert!(goes());
    (0..40).for_each(|_| assert_eq!(sieve.keep("T", batch()).num_rows(), ROWS));
    let gone = (0..160).filter(|_| goes()).count();
    assert_eq!(gone, 10);
}

#[test]
fn what_stays_does_not_hold_the_texts_of_what_went() {
    let sieve = workspace().sieve(["T | where Name == 'n7'"], &[]).expect("a condition");
    let few = sieve.keep("T", batch());
    let names = few.column_by_name("Name").expect("the column").as_any().downcast_ref::<DictionaryArray<Int32Type>>().expect("a dictionary as before");
    assert_eq!(names.values().len(), 1);
    let without = batch().project(&[0]).expect("a column");
    assert_eq!(workspace().sieve(["T | where Name == 'n7'"], &[]).expect("a condition").keep("T", without).num_rows(), ROWS, "without the column nothing is judged");
}

#[tokio::test]
async fn a_query_answers_over_what_stays_as_over_all() {
    for query in [
        "T | where Name has 'n7' | summarize count(), sum(Size)",
        "search 'n42' | summarize sum(Size)",
        "T | where Name in ('n1', 'n2') | summarize n = count() by Name | sort by Name asc",
        "T | where not(Name startswith 'n') or Size == 5 | project Size",
        "T | where isempty(Name) | count",
    ] {
        let mut answers = Vec::new();
        for rows in [batch(), workspace().sieve([query], &["T", "U"]).expect("a condition").keep("T", batch())] {
            let mut filled = workspace();
            filled.register("T", Table::new(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]]).expect("a table")), columns()));
            answers.push(filled.query(query, Clock::now()).await.expect("it runs").tables[0].rows());
        }
        assert_eq!(answers[0], answers[1], "{query}");
    }
}
