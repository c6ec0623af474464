//! What plans must keep: filters that reach the Parquet reader, and plans that travel.

use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, TableReference, internal_err, not_impl_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, Extension, LogicalPlan, ScalarUDF};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use datafusion_proto::bytes::{logical_plan_from_bytes_with_extension_codec, logical_plan_to_bytes_with_extension_codec};
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use std::sync::Arc;
use vidette_engine::{Clock, Table, Workspace, aggregate_function, function};
use vidette_kql::time::{UNIX_EPOCH_TICKS, parse_datetime};

/// A day of rows a second apart from 2024-04-30, in row groups of an hour.
async fn workspace(folder: &std::path::Path) -> Workspace {
    let start = (parse_datetime("2024-04-30").expect("a date") - UNIX_EPOCH_TICKS) / 10;
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values((0..86_400).map(|n| start + n * 1_000_000)));
    let names: ArrayRef = Arc::new(StringArray::from_iter((0..86_400).map(|n| (n % 3 > 0).then(|| format!("host{}", n % 3)))));
    let batch = RecordBatch::try_from_iter_with_nullable([("Timestamp", times, false), ("DeviceName", names, true)]).expect("two columns");
    let file = folder.join("T.parquet");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(3600)).build();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&file).expect("a file"), batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("a footer is written");
    let mut workspace = Workspace::default();
    let frame = workspace.session().read_parquet(file.to_string_lossy().into_owned(), ParquetReadOptions::default()).await.expect("the file is read");
    let provider = frame.into_view();
    workspace.register("T", Table::infer(provider));
    workspace
}

fn noon() -> Clock {
    Clock::at(parse_datetime("2024-05-01").expect("a date"))
}

#[tokio::test]
async fn a_time_filter_reaches_the_reader_as_a_native_comparison() {
    let folder = tempfile::tempdir().expect("a folder");
    let workspace = workspace(folder.path()).await;
    let plan = workspace.explain("T | where Timestamp > ago(1h) | count", noon()).await.expect("the query plans");
    let scan = plan.lines().find(|line| line.contains("TableScan")).expect("a scan");
    assert!(scan.contains("filters=[") && scan.contains("Timestamp >= TimestampMicrosecond(1714518000000001"), "{plan}");
    let result = workspace.query("T | where Timestamp > ago(1h) | count", noon()).await.expect("the query runs");
    assert_eq!(result.tables[0].rows()[0][0], 3599);
}

#[tokio::test]
async fn the_first_rows_by_a_time_are_chosen_by_the_native_column() {
    let folder = tempfile::tempdir().expect("a folder");
    let workspace = workspace(folder.path()).await;
    for query in
        ["T | top 3 by Timestamp", "T | extend When = Timestamp | where DeviceName == 'host1' | project When, DeviceName | sort by When desc, strlen(DeviceName) asc | take 3"]
    {
        let plan = workspace.explain(query, noon()).await.expect("the query plans");
        let first = plan.lines().find(|line| line.contains("fetch=3")).expect("a sort");
        assert!(first.contains(".Timestamp DESC"), "{plan}");
    }
    let last = workspace.query("T | extend Length = strlen(DeviceName) | top 2 by Timestamp, Length | project Time = tostring(Timestamp)", noon()).await.expect("the query runs");
    let rows = last.tables[0].rows();
    assert_eq!(rows.iter().map(|row| row[0].as_str().unwrap_or_default()).collect::<Vec<_>>(), ["2024-04-30T23:59:59.0000000Z", "2024-04-30T23:59:58.0000000Z"]);
}

#[tokio::test]
async fn groups_beyond_the_memory_limit_go_to_disk_and_come_back() {
    let query = "range x from 1 to 200000 step 1
        | extend host = strcat('a host of a long name, number ', x % 50000), port = x % 7
        | summarize arg_max(x, port), names = make_set(strcat('name ', port)), dcount(port) by host
        | summarize count(), sum(x), sum(port), sum(array_length(names)), sum(dcount_port)";
    let mut answers = Vec::new();
    for limit in [None, Some(12 << 20)] {
        let result = Workspace::new(limit).query(query, noon()).await.expect("the query runs");
        answers.push(result.tables[0].rows());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0][0][0], 50_000);
    assert_eq!(answers[0][0][1], 8_750_025_000_i64);
}

#[tokio::test]
async fn what_does_not_fit_into_memory_says_what_to_do() {
    let query = "range x from 1 to 400000 step 1 | extend name = strcat('a name of some length ', x) | as T | join kind=inner T on name | count";
    let error = Workspace::new(Some(8 << 20)).query(query, noon()).await.expect_err("there is no room").to_string();
    assert!(error.starts_with("the query needs more memory than there is for it; ask for less time"), "{error}");
}

#[tokio::test]
async fn what_has_no_rows_is_not_planned() {
    let mut workspace = in_memory();
    workspace.register("Known", Table::empty(vec![("DeviceName".to_owned(), vidette_kql::ScalarType::String), ("Other".to_owned(), vidette_kql::ScalarType::Long)]));
    let plan = workspace.explain("union T, (Known | where Other > 1 | join kind=inner T on DeviceName) | count", noon()).await.expect("the query plans");
    assert!(!plan.contains("Join") && !plan.contains("Union"), "{plan}");
    for (query, rows) in [
        ("Known | summarize n = count()", 1),
        ("Known | summarize n = count() by DeviceName", 0),
        ("union Known, (print DeviceName = 'x')", 1),
        ("T | take 1 | join kind=leftouter Known on DeviceName", 1),
    ] {
        let result = workspace.query(query, noon()).await.expect(query);
        assert_eq!(result.tables[0].text_rows().len(), rows, "{query}");
    }
    assert!(workspace.query("Known | where assert(1 > 2, 'never')", noon()).await.is_err(), "an assertion is looked at, rows or no rows");
}

#[tokio::test]
async fn a_union_of_many_columns_gives_what_its_tables_lack() {
    let table = |n: usize| {
        let columns: Vec<String> = (0..30).map(|column| format!("t{n}_{column} = {}", if column % 2 == 0 { format!("'text {column}'") } else { column.to_string() })).collect();
        format!("(print At = datetime(2024-04-30) + {n} * 1h, Of = {n}, {})", columns.join(", "))
    };
    let union = format!("union withsource = From {}", (0..20).map(table).collect::<Vec<_>>().join(", "));
    let workspace = Workspace::default();
    for (query, rows) in [
        ("count", "[[20]]"),
        ("where t3_0 has 'text' | project From, Of, t3_0, t3_1, t4_0, t4_1", r#"[["union_arg3",3,"text 0",1,"",null]]"#),
        ("where At < datetime(2024-04-30 02:30) and isempty(t1_2) and isnull(t1_3) | summarize make_list(Of), countif(t0_3 == 3)", "[[[0,2],1]]"),
        (
            "where isnotempty(t5_0) or t6_1 == 1 | sort by Of desc | project Of, t5_0, t6_1, At",
            r#"[[6,"",1,"2024-04-30T06:00:00.0000000Z"],[5,"text 0",null,"2024-04-30T05:00:00.0000000Z"]]"#,
        ),
    ] {
        // A value of all columns keeps the union as wide as it is; its own filter is the only one that stays above.
        let wide = format!("{union} | extend All = tostring(pack_all()) | where isnotempty(All) | {query}");
        let plan = workspace.explain(&wide, noon()).await.expect("the query plans");
        assert!(plan.contains("WideUnion"), "{plan}");
        let above = plan.split("WideUnion").next().expect("a part");
        assert_eq!(above.matches("Filter:").count(), 1, "{plan}");
        for query in [format!("{union} | {query}"), wide] {
            let result = workspace.query(&query, noon()).await.expect("the query runs");
            assert_eq!(serde_json::to_string(&result.tables[0].rows()).expect("JSON"), rows, "{query}");
        }
    }
}

#[tokio::test]
async fn an_absent_string_is_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let workspace = workspace(folder.path()).await;
    let result = workspace.query("T | summarize count() by DeviceName, empty = isempty(DeviceName) | sort by DeviceName asc", noon()).await.expect("the query runs");
    let rows = serde_json::to_string(&result.tables[0].rows()).expect("JSON");
    assert_eq!(rows, r#"[["",true,28800],["host1",false,28800],["host2",false,28800]]"#);
}

/// Finds functions by their names; tables come from the files that the plan names.
#[derive(Debug)]
struct ByName;

impl LogicalExtensionCodec for ByName {
    fn try_decode(&self, _: &[u8], _: &[LogicalPlan], _: &TaskContext) -> Result<Extension> {
        not_impl_err!("no extension nodes")
    }

    fn try_encode(&self, _: &Extension, _: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("no extension nodes")
    }

    fn try_decode_table_provider(&self, _: &[u8], table: &TableReference, _: arrow::datatypes::SchemaRef, _: &TaskContext) -> Result<Arc<dyn TableProvider>> {
        not_impl_err!("the table {table} is not a file")
    }

    fn try_encode_table_provider(&self, table: &TableReference, _: Arc<dyn TableProvider>, _: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("the table {table} is not a file")
    }

    fn try_decode_udf(&self, name: &str, _: &[u8]) -> Result<Arc<ScalarUDF>> {
        match function(name) {
            Some(function) => Ok(Arc::new(function)),
            None => internal_err!("no function named {name}"),
        }
    }

    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> Result<Arc<AggregateUDF>> {
        match aggregate_function(name) {
            Some(function) => Ok(Arc::new(function)),
            None => internal_err!("no aggregate named {name}"),
        }
    }

    fn try_encode_udaf(&self, function: &AggregateUDF, buffer: &mut Vec<u8>) -> Result<()> {
        if aggregate_function(function.name()).is_some() {
            buffer.push(1);
        }
        Ok(())
    }

    fn try_encode_udf(&self, known: &ScalarUDF, buffer: &mut Vec<u8>) -> Result<()> {
        // A byte says that the name alone is not in any registry.
        if function(known.name()).is_some() {
            buffer.push(1);
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_plan_comes_back_from_bytes_with_the_same_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let workspace = workspace(folder.path()).await;
    let query = "T | where Timestamp > ago(2h) and DeviceName has_any ('host1', 'nobody') | extend d = dynamic({'a': 1}) | summarize n = count(), d = dcount(DeviceName), s = make_set(strcat(DeviceName, d.a)), t = arg_max(Timestamp, DeviceName) by bin(Timestamp, 1h) | sort by Timestamp asc";
    let plan = workspace.plan(query, noon()).await.expect("the query plans");
    let bytes = logical_plan_to_bytes_with_extension_codec(&plan, &ByName).expect("the plan is written");
    let elsewhere = SessionContext::new();
    let back = logical_plan_from_bytes_with_extension_codec(&bytes, &elsewhere.task_ctx(), &ByName).expect("the plan is read");
    let there = elsewhere.execute_logical_plan(back).await.expect("it plans").collect().await.expect("it runs");
    let here = workspace.query(query, noon()).await.expect("it runs");
    assert_eq!(
        arrow::util::pretty::pretty_format_batches(&there).expect("text").to_string(),
        arrow::util::pretty::pretty_format_batches(&here.tables[0].batches).expect("text").to_string()
    );
    assert_eq!(here.tables[0].row_count(), 2);
}

/// Rows in memory, with ticks.
fn in_memory() -> Workspace {
    let start = parse_datetime("2024-04-30").expect("a date");
    let times: ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values((0..240).map(|n| start + n * 3_600_000_000)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..240).map(|n| format!("host{}", n % 3))));
    let batch = RecordBatch::try_from_iter([("Timestamp", times), ("DeviceName", names)]).expect("two columns");
    let provider = datafusion::catalog::MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("a table");
    let columns = vec![("Timestamp".to_owned(), vidette_kql::ScalarType::DateTime), ("DeviceName".to_owned(), vidette_kql::ScalarType::String)];
    let mut workspace = Workspace::default();
    workspace.register("T", Table::new(Arc::new(provider), columns));
    workspace
}

#[tokio::test]
async fn a_prepared_query_gives_at_every_instant_what_a_run_of_its_own_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "let busy = toscalar(T | where Timestamp > ago(3h) | summarize count());
        T | where Timestamp > ago(2h) | summarize n = count(), seen = max(Timestamp) by DeviceName | extend share = n * 1.0 / busy, at = now(-1h) | sort by DeviceName asc";
    // A `scan` that reads the clock in its steps.
    let scan =
        "T | where Timestamp > ago(2h) | sort by Timestamp asc | scan declare (age: timespan) with (step s: true => age = now() - Timestamp;) | summarize max(age), max(Timestamp)";
    agrees(&in_memory(), scan).await;
    for workspace in [in_memory(), workspace(folder.path()).await] {
        agrees(&workspace, text).await;
    }
}

async fn agrees(workspace: &Workspace, text: &str) {
    let (queries, _) = vidette_kql::compile(text, workspace);
    let prepared = workspace.prepare(&queries[0], true).await.expect("the query plans");
    let mut different = std::collections::HashSet::new();
    for hour in 1..=24 {
        let now = parse_datetime("2024-04-30").expect("a date") + hour * 36_000_000_000;
        let clock = Clock::window(now, 4 * 36_000_000_000);
        let direct = workspace.run(&queries[0], clock).await.expect("the query runs").rows();
        assert_eq!(workspace.run_prepared(&prepared, clock).await.expect("the plan runs").rows(), direct, "hour {hour}");
        different.insert(serde_json::to_string(&direct).expect("JSON"));
    }
    assert_eq!(different.len(), 24, "every instant has an answer of its own");
}

/// Twenty-four windows together, of which some have no rows, give what each gives alone.
async fn together(workspace: &Workspace, text: &str) {
    let (queries, diagnostics) = vidette_kql::compile(text, workspace);
    assert!(diagnostics.is_empty(), "{text}: {diagnostics:?}");
    let prepared = workspace.prepare(&queries[0], true).await.expect("the query plans");
    let clocks: Vec<Clock> = (1..=24).map(|hour| Clock::window(parse_datetime("2024-04-30").expect("a date") + hour * 36_000_000_000, 36_000_000_000)).collect();
    let found = workspace.run_prepared_at(&prepared, &clocks, |table, _| (table.columns.clone(), table.rows())).await.expect("the plan runs");
    for (clock, found) in clocks.iter().zip(found) {
        let direct = workspace.run(&queries[0], *clock).await.expect("the query runs");
        assert_eq!(found, (direct.columns.clone(), direct.rows()), "{text}: {clock:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_are_left_out_have_no_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    for workspace in [in_memory(), workspace(folder.path()).await] {
        for text in [
            // Rows in two hours only, by a condition on single rows, with the instant in others.
            "T | where Timestamp % 1d between (5h .. 6h) or DeviceName == 'nobody' | where Timestamp > ago(2h) | summarize n = count(), max(Timestamp) by DeviceName | sort by DeviceName asc",
            "T | where hourofday(Timestamp) == 7 | project Timestamp, DeviceName, age = now() - Timestamp | sort by Timestamp asc, DeviceName asc | take 3",
            "T | where hourofday(Timestamp) in (3, 9) | mv-expand x = dynamic([1, 2]) to typeof(long) | where x == 2 | summarize count() by DeviceName, x | sort by DeviceName asc",
            "union (T | where hourofday(Timestamp) == 1), (T | where hourofday(Timestamp) == 20 | extend y = 1) | summarize count() by DeviceName, y | sort by DeviceName asc",
            // Below joins, in the legs of a union, beside a subquery over the instant, with a time of the rule's own.
            "T | where hourofday(Timestamp) == 3 | join kind=leftouter (T | summarize total = count() by DeviceName) on DeviceName | summarize n = count(), max(total) by DeviceName | sort by DeviceName asc",
            "T | where hourofday(Timestamp) == 11 | join kind=inner (T | where Timestamp > ago(30m) | distinct DeviceName) on DeviceName | summarize n = count() by DeviceName | sort by DeviceName asc",
            "union (T | where hourofday(Timestamp) == 1 | join kind=leftsemi (T | distinct DeviceName) on DeviceName), (T | where hourofday(Timestamp) == 20 | join kind=leftanti (T | where DeviceName == 'host1') on DeviceName) | summarize n = count() by DeviceName | sort by DeviceName asc",
            "let busy = toscalar(T | where Timestamp > ago(30m) | count); T | where hourofday(Timestamp) == 9 | summarize n = count() by DeviceName | extend busy | sort by DeviceName asc",
            "T | where Timestamp >= ago(20m) and hourofday(Timestamp) == 5 | summarize n = count() by DeviceName | sort by DeviceName asc",
            "T | where hourofday(Timestamp) == 15 | mv-apply x = dynamic([1, 2]) to typeof(long) on (summarize s = sum(x)) | summarize n = count(), max(s) by DeviceName | sort by DeviceName asc",
            // Rows of several places on either side of a join, which tells one side what it looks for in the other.
            "union (T | where hourofday(Timestamp) == 3 | project DeviceName, Timestamp), (T | where hourofday(Timestamp) == 4 | project DeviceName, Timestamp) | join kind=inner (T | where DeviceName == 'host1' | take 5 | project DeviceName) on DeviceName | summarize n = count() by DeviceName | sort by DeviceName asc",
            "T | where hourofday(Timestamp) == 3 | take 5 | join kind=inner (union (T | where DeviceName == 'host1'), (T | where DeviceName == 'host2')) on DeviceName | summarize n = count() by DeviceName | sort by DeviceName asc",
            // Rows of the right side without any of the left.
            "T | where hourofday(Timestamp) == 4 | join kind=rightouter (T | distinct DeviceName) on DeviceName | summarize n = count() by DeviceName1 | sort by DeviceName1 asc",
            "T | where hourofday(Timestamp) == 4 | join kind=fullouter (T | distinct DeviceName) on DeviceName | summarize n = count() by DeviceName1 | sort by DeviceName1 asc",
            // Times that the legs of a union show under other names or not at all; legs without rows.
            "union (T | where hourofday(Timestamp) == 1 | project a = Timestamp, DeviceName), (T | where hourofday(Timestamp) == 20 | project b = Timestamp, DeviceName) | sort by a asc, b asc, DeviceName asc",
            "union (T | where hourofday(Timestamp) == 6 | project DeviceName), (datatable(DeviceName: string) [] | extend z = 2) | where DeviceName != 'host0' | sort by DeviceName asc",
            "datatable(Timestamp: datetime, DeviceName: string) [] | where DeviceName has 'host' | summarize n = count() by DeviceName",
            "datatable(Timestamp: datetime) [] | summarize n = count()",
            // One row always; rows that only other rows decide; the times are not the window's own.
            "T | where hourofday(Timestamp) == 4 | summarize n = count()",
            "T | where hourofday(Timestamp) != 4 | join kind=leftanti (T | where hourofday(Timestamp) == 8) on DeviceName | count",
            "T | sort by Timestamp asc | extend before = prev(Timestamp) | where hourofday(Timestamp) == 6 | summarize max(before) by DeviceName | sort by DeviceName asc",
            "T | extend Timestamp = Timestamp - 5h | where hourofday(Timestamp) == 6 | summarize count() by DeviceName | sort by DeviceName asc",
        ] {
            together(&workspace, text).await;
        }
    }
}

#[tokio::test]
async fn a_table_of_several_parts_is_one_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut workspace = workspace(folder.path()).await;
    let frame = workspace.session().read_parquet(folder.path().join("T.parquet").to_string_lossy().into_owned(), ParquetReadOptions::default()).await.expect("the file is read");
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(["memory"]));
    let batch = RecordBatch::try_from_iter([("DeviceName", names)]).expect("one column");
    let rows = datafusion::catalog::MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("a table");
    workspace.register("T", Table::infer(frame.into_view()).and(Arc::new(rows)));
    let result = workspace.query("T | summarize n = count(), times = countif(isnotnull(Timestamp)) by DeviceName | sort by DeviceName asc", noon()).await.expect("the query runs");
    let rows = serde_json::to_string(&result.tables[0].rows()).expect("JSON");
    assert_eq!(rows, r#"[["",28800,28800],["host1",28800,28800],["host2",28800,28800],["memory",1,0]]"#);
}
