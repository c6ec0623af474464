//! The front end on texts a person or a machine may write: depth, the whole grammar, diagnostics as people see them.

use expect_test::{Expect, expect};
use vidette_kql::{Catalog, Feature, ScalarType, compile, parse, render};

struct Tables;

impl Catalog for Tables {
    fn table(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
        let text = |name: &str| (name.to_owned(), ScalarType::String);
        match name {
            "DeviceProcessEvents" => Some(vec![("Timestamp".to_owned(), ScalarType::DateTime), text("DeviceName"), text("FileName"), text("ProcessCommandLine")]),
            "DeviceEvents" => Some(vec![text("DeviceName"), ("AdditionalFields".to_owned(), ScalarType::Dynamic), ("FileSize".to_owned(), ScalarType::Long)]),
            _ => None,
        }
    }

    fn table_names(&self) -> Vec<String> {
        vec!["DeviceProcessEvents".to_owned(), "DeviceEvents".to_owned()]
    }

    fn runs(&self, feature: Feature, name: &str) -> bool {
        feature != Feature::Operator || name != "sample"
    }
}

fn check(query: &str, expected: Expect) {
    let (_, diagnostics) = compile(query, &Tables);
    expected.assert_eq(&render(query, "q.kql", &diagnostics));
}

fn columns(query: &str, expected: Expect) {
    let (queries, diagnostics) = compile(query, &Tables);
    assert!(diagnostics.is_empty(), "{}", render(query, "q.kql", &diagnostics));
    let columns: Vec<String> = queries[0].columns.iter().map(|column| format!("{}:{}", column.name, column.ty)).collect();
    expected.assert_eq(&columns.join(" "));
}

#[test]
fn depth_does_not_depend_on_the_stack() {
    let chain = vec!["FileName == 'a'"; 2000].join(" or ");
    let nested = format!("{}FileName == 'a'{}", "(".repeat(500), ")".repeat(500));
    let calls = format!("{}FileName{}", "tolower(".repeat(500), ")".repeat(500));
    let sums = vec!["1"; 2000].join(" + ");
    for query in [
        format!("DeviceProcessEvents | where {chain}"),
        format!("DeviceProcessEvents | where {nested}"),
        format!("DeviceProcessEvents | extend x = {calls}"),
        format!("print {sums}"),
    ] {
        // A thread with a small stack, as a server's workers have.
        let worker = std::thread::Builder::new().stack_size(512 * 1024).spawn(move || compile(&query, &Tables).1.len()).expect("a thread starts");
        assert_eq!(worker.join().expect("no overflow"), 0);
    }
}

#[test]
fn names_behind_an_exclamation_mark_may_be_short() {
    for text in ["!n~8~", "!n~", "T | where \"é\"!n~", "é!x~", "print 1 !in~ (1)"] {
        compile(text, &Tables);
    }
}

#[test]
fn bottomless_nesting_is_refused() {
    let (_, diagnostics) = parse(&format!("print {}1{}", "(".repeat(100_000), ")".repeat(100_000)));
    assert!(diagnostics.iter().any(|diagnostic| diagnostic.code == "VD003"));
}

#[test]
fn the_whole_language_parses() {
    let queries = [
        "set notruncation; declare query_parameters(n: long = 5, t: timespan); T | take n",
        "alias database d = cluster('c').database('x'); database('d').T | count",
        "restrict access to (database('x').T); T",
        "let f = view () { T }; let g = (a: int, T: (x: long, *), b: string = 'z') { T | where x > a }; g(1, T)",
        "T | where a has_any ('x', \"y\") and b !in~ (dynamic(['q'])) and c between (1 .. 2) and d matches regex @'\\d' and h'secret' != ```multi\nline```",
        "T | extend ['column name'] = 1.5h + 10tick, x = guid(74be27de-1e4e-49d9-b579-fe0b331d3642), y = datetime(2024-01-01), z = dynamic({'a': [1, {'b': null}]})",
        "T | join hint.strategy=shuffle kind=leftouter (U | project a) on $left.a == $right.b, c",
        "T | summarize hint.shufflekey=a count(), (x, y) = arg_max(t, *) by bin(t, 1h), a",
        "union withsource=S kind=outer isfuzzy=true Device*, (T | where a == 1)",
        "T | mv-expand with_itemindex=i kind=array a to typeof(string), b limit 10 | mv-apply c = d to typeof(long) on (top 1 by c)",
        "T | parse kind=regex flags=Ui a with * 'x' b: long 'y' c | parse-kv d as (e: string, f: long) with (pair_delimiter=',', kv_delimiter='=')",
        "externaldata (a: string, b: long) [@'https://host/file.csv', 'other'] with (format='csv', ignoreFirstRecord=true) | count",
        "T | make-series n = count() default=0, avg(x) on t from ago(1d) to now() step 1h by a, b",
        "T | evaluate hint.distribution=per_node bag_unpack(d, 'p_') : (a: long, *)",
        "T | scan with_match_id=m order by t asc partition by a declare (x: long = 0) with (step s1: a == 1 => x = 1; step s2 output=all: b > s1.x;)",
        "T | partition hint.strategy=native by a (top 1 by b)",
        "T | top-nested 2 of a with others = 'rest' by count(), top-nested of b by max(c) desc",
        "T | make-graph a --> b with N on id | graph-match (x)-[e*1..3]->(y)<--(z) where x.a == 1 project x.b",
        "search kind=case_sensitive in (T, U) 'needle' and a: 'x'",
        "find withsource=S in (T, U) where a has 'x' project a, b: long",
        "T | fork (where a == 1 | take 1) named = (count) | facet by a with (take 1)",
        "T | reduce by a with threshold=0.1 | sample-distinct 5 of b | sample 3 | top-hitters 3 of a by b",
        "T | assert-schema (a: long) | project-by-names dynamic(['a']) | consume decodeblocks=true",
        "T | render timechart with (title='x', ycolumns=a, b, ysplit=axes)",
        "T | sort by a asc nulls last, b | project-reorder a* granny-asc, b desc | project-away *Id, c*",
    ];
    for query in queries {
        let (_, diagnostics) = parse(query);
        assert!(diagnostics.is_empty(), "{query}\n{}", render(query, "q.kql", &diagnostics));
    }
}

#[test]
fn a_misspelled_column_shows_where_and_what() {
    check(
        "DeviceProcessEvents\n| where ProcessComandLine has \"lsass\"",
        expect![[r#"
        error[KS142]: unknown name `ProcessComandLine`
         --> q.kql:2:9
          |
        2 | | where ProcessComandLine has "lsass"
          |         ^^^^^^^^^^^^^^^^^ not a column of DeviceProcessEvents
          = help: a column with a similar name exists: `ProcessCommandLine`
    "#]],
    );
}

#[test]
fn arguments_are_counted_as_the_signatures_say() {
    check(
        "DeviceEvents | summarize take_any() | extend a = substring('x'), b = max_of(1), c = make_datetime(1, 2), d = pi(3) | evaluate rolling_percentile(a)",
        expect![[r#"
            error[KS120]: the function `take_any` expects at least 1 argument
             --> q.kql:1:26
              |
            1 | DeviceEvents | summarize take_any() | extend a = substring('x'), b = max_of(1), c = make_datetime(1, 2), d = pi(3) | evaluate rolling_percentile(a)
              |                          ^^^^^^^^ wrong number of arguments
            error[KS119]: the function `substring` expects 2 to 3 arguments
             --> q.kql:1:50
              |
            1 | DeviceEvents | summarize take_any() | extend a = substring('x'), b = max_of(1), c = make_datetime(1, 2), d = pi(3) | evaluate rolling_percentile(a)
              |                                                  ^^^^^^^^^ wrong number of arguments
            error[KS120]: the function `max_of` expects 2 to 64 arguments
             --> q.kql:1:70
              |
            1 | DeviceEvents | summarize take_any() | extend a = substring('x'), b = max_of(1), c = make_datetime(1, 2), d = pi(3) | evaluate rolling_percentile(a)
              |                                                                      ^^^^^^ wrong number of arguments
            error[KS119]: the function `make_datetime` expects 1 or 3 to 6 arguments
             --> q.kql:1:85
              |
            1 | DeviceEvents | summarize take_any() | extend a = substring('x'), b = max_of(1), c = make_datetime(1, 2), d = pi(3) | evaluate rolling_percentile(a)
              |                                                                                     ^^^^^^^^^^^^^ wrong number of arguments
            error[KS119]: the function `pi` expects no arguments
             --> q.kql:1:110
              |
            1 | DeviceEvents | summarize take_any() | extend a = substring('x'), b = max_of(1), c = make_datetime(1, 2), d = pi(3) | evaluate rolling_percentile(a)
              |                                                                                                              ^^ wrong number of arguments
            error[KS120]: the plugin `rolling_percentile` expects at least 5 arguments
             --> q.kql:1:127
              |
            1 | DeviceEvents | summarize take_any() | extend a = substring('x'), b = max_of(1), c = make_datetime(1, 2), d = pi(3) | evaluate rolling_percentile(a)
              |                                                                                                                               ^^^^^^^^^^^^^^^^^^ wrong number of arguments
        "#]],
    );
    check(
        "DeviceEvents | evaluate rows_near(DeviceName, strlen(DeviceName), 'x')",
        expect![[r#"
        error[KS107]: the expression must have the type bool
         --> q.kql:1:35
          |
        1 | DeviceEvents | evaluate rows_near(DeviceName, strlen(DeviceName), 'x')
          |                                   ^^^^^^^^^^ this is string
        error[KS129]: the argument must be a constant
         --> q.kql:1:47
          |
        1 | DeviceEvents | evaluate rows_near(DeviceName, strlen(DeviceName), 'x')
          |                                               ^^^^^^^^^^^^^^^^^^ it reads a column
        error[KS134]: the expression must have the type long
         --> q.kql:1:67
          |
        1 | DeviceEvents | evaluate rows_near(DeviceName, strlen(DeviceName), 'x')
          |                                                                   ^^^ this is string
    "#]],
    );
    check(
        "DeviceEvents | evaluate session_count(strlen(DeviceName), DeviceName, AdditionalFields, 2, 3, 4)",
        expect![[r#"
        error[KS109]: column name expected
         --> q.kql:1:39
          |
        1 | DeviceEvents | evaluate session_count(strlen(DeviceName), DeviceName, AdditionalFields, 2, 3, 4)
          |                                       ^^^^^^^^^^^^^^^^^^ not a column
        error[KS138]: the expression must be a number, a datetime or a timespan
         --> q.kql:1:59
          |
        1 | DeviceEvents | evaluate session_count(strlen(DeviceName), DeviceName, AdditionalFields, 2, 3, 4)
          |                                                           ^^^^^^^^^^ this is string
        error[KS129]: the argument must be a constant
         --> q.kql:1:71
          |
        1 | DeviceEvents | evaluate session_count(strlen(DeviceName), DeviceName, AdditionalFields, 2, 3, 4)
          |                                                                       ^^^^^^^^^^^^^^^^ it reads a column
    "#]],
    );
    check(
        "let f = (a: int, b: int = 1) { a + b }; print f()",
        expect![[r#"
        error[KS119]: the function `f` expects 1 to 2 arguments
         --> q.kql:1:47
          |
        1 | let f = (a: int, b: int = 1) { a + b }; print f()
          |                                               ^^^ wrong number of arguments
    "#]],
    );
}

#[test]
fn nothing_is_passed_over_in_silence() {
    check(
        "DeviceEvents | parse-kv DeviceName as (a: string) with (pair_delimeter=',', kv_delimiter='=')",
        expect![[r#"
        error[KS005]: `parse-kv` has no option `pair_delimeter`
         --> q.kql:1:57
          |
        1 | DeviceEvents | parse-kv DeviceName as (a: string) with (pair_delimeter=',', kv_delimiter='=')
          |                                                         ^^^^^^^^^^^^^^ it has pair_delimiter, kv_delimiter, quote, escape, greedy, regex
    "#]],
    );
    check(
        "DeviceProcessEvents | make-series count() on Timestamp from (2024-01-01) to now() step 1",
        expect![[r#"
            error[KS141]: the expression must have the type datetime
             --> q.kql:1:61
              |
            1 | DeviceProcessEvents | make-series count() on Timestamp from (2024-01-01) to now() step 1
              |                                                             ^^^^^^^^^^^^ this is long
            error[KS178]: the expression must have the type timespan
             --> q.kql:1:88
              |
            1 | DeviceProcessEvents | make-series count() on Timestamp from (2024-01-01) to now() step 1
              |                                                                                        ^ this is long
        "#]],
    );
    check(
        "DeviceEvents | evaluate pivot(DeviceName, summ(AdditionalFields))",
        expect![[r#"
        error[KS211]: unknown function `summ`
         --> q.kql:1:43
          |
        1 | DeviceEvents | evaluate pivot(DeviceName, summ(AdditionalFields))
          |                                           ^^^^ not a known function
          = help: a function with a similar name exists: `sum`
    "#]],
    );
    check(
        "DeviceEvents | render timechrt with (titel='x', kind=stacked)",
        expect![[r#"
        warning[KS005]: `render` has no chart `timechrt`
         --> q.kql:1:23
          |
        1 | DeviceEvents | render timechrt with (titel='x', kind=stacked)
          |                       ^^^^^^^^ not a chart
          = help: a chart with a similar name exists: `timechart`
        warning[KS005]: `render` has no property `titel`
         --> q.kql:1:38
          |
        1 | DeviceEvents | render timechrt with (titel='x', kind=stacked)
          |                                      ^^^^^ not a property
          = help: a property with a similar name exists: `title`
    "#]],
    );
    check(
        "datatable (a: string, a: int) ['x', 1]",
        expect![[r#"
        error[KS171]: a column with the name `a` is already declared
         --> q.kql:1:23
          |
        1 | datatable (a: string, a: int) ['x', 1]
          |                       ^ declared twice
    "#]],
    );
}

#[test]
fn what_only_the_analyzer_refuses_of_arguments_is_a_warning() {
    check(
        "DeviceEvents | extend a = abs(AdditionalFields), b = substring(DeviceName, 1.5), c = replace_regex(DeviceName, DeviceName, 'x') | summarize make_list(b, 'x'), make_bag(b)",
        expect![[r#"
            warning[KS127]: `abs` does not take values of the type dynamic
             --> q.kql:1:31
              |
            1 | DeviceEvents | extend a = abs(AdditionalFields), b = substring(DeviceName, 1.5), c = replace_regex(DeviceName, DeviceName, 'x') | summarize make_list(b, 'x'), m…
              |                               ^^^^^^^^^^^^^^^^ this is dynamic
            warning[KS134]: `substring` does not take values of the type real
             --> q.kql:1:76
              |
            1 | DeviceEvents | extend a = abs(AdditionalFields), b = substring(DeviceName, 1.5), c = replace_regex(DeviceName, DeviceName, 'x') | summarize make_list(b, 'x'), m…
              |                                                                            ^^^ this is real
              = help: convert it with `tolong()`
            warning[KS129]: `replace_regex` wants an argument that is the same for all rows
             --> q.kql:1:112
              |
            1 | DeviceEvents | extend a = abs(AdditionalFields), b = substring(DeviceName, 1.5), c = replace_regex(DeviceName, DeviceName, 'x') | summarize make_list(b, 'x'), m…
              |                                                                                                                ^^^^^^^^^^ it reads a column
            warning[KS134]: `make_list` does not take values of the type string
             --> q.kql:1:154
              |
            1 | DeviceEvents | extend a = abs(AdditionalFields), b = substring(DeviceName, 1.5), c = replace_regex(DeviceName, DeviceName, 'x') | summarize make_list(b, 'x'), m…
              |                                                                                                                                                          ^^^ this is string
              = help: convert it with `tolong()`
            warning[KS235]: `make_bag` does not take values of the type string
             --> q.kql:1:169
              |
            1 | …e, DeviceName, 'x') | summarize make_list(b, 'x'), make_bag(b)
              |                                                              ^ this is string
              = help: convert it with `parse_json()`
        "#]],
    );
}

#[test]
fn several_mistakes_are_reported_at_once() {
    check(
        "DeviceProcessEvents | where FileNam == 1 or nope(2) | extend x = strlen(), y = DeviceName > 5 | take 'a'",
        expect![[r#"
        error[KS142]: unknown name `FileNam`
         --> q.kql:1:29
          |
        1 | DeviceProcessEvents | where FileNam == 1 or nope(2) | extend x = strlen(), y = DeviceName > 5 | take 'a'
          |                             ^^^^^^^ not a column of DeviceProcessEvents
          = help: a column with a similar name exists: `FileName`
        error[KS211]: unknown function `nope`
         --> q.kql:1:45
          |
        1 | DeviceProcessEvents | where FileNam == 1 or nope(2) | extend x = strlen(), y = DeviceName > 5 | take 'a'
          |                                             ^^^^ not a known function
        error[KS119]: the function `strlen` expects 1 argument
         --> q.kql:1:66
          |
        1 | DeviceProcessEvents | where FileNam == 1 or nope(2) | extend x = strlen(), y = DeviceName > 5 | take 'a'
          |                                                                  ^^^^^^ wrong number of arguments
        error[KS106]: the operator `>` is not defined for the operand types string and long
         --> q.kql:1:91
          |
        1 | DeviceProcessEvents | where FileNam == 1 or nope(2) | extend x = strlen(), y = DeviceName > 5 | take 'a'
          |                                                                                           ^ string > long
        error[KS134]: the expression value must be an integer
         --> q.kql:1:102
          |
        1 | DeviceProcessEvents | where FileNam == 1 or nope(2) | extend x = strlen(), y = DeviceName > 5 | take 'a'
          |                                                                                                      ^^^ not an integer
    "#]],
    );
}

/// The codes are those of Microsoft's analyzer.
#[test]
fn an_argument_of_the_wrong_type_has_the_code_of_what_was_wanted() {
    for (call, code) in
        [("sqrt('x')", "KS137"), ("substring('x', 'y')", "KS134"), ("array_sum(1)", "KS234"), ("bag_keys('x')", "KS235"), ("repeat(1, 'x')", "KS107"), ("abs('x')", "KS127")]
    {
        let (_, diagnostics) = compile(&format!("print {call}"), &Tables);
        assert_eq!(diagnostics.first().map(|diagnostic| diagnostic.code), Some(code), "{call}");
    }
    let (_, diagnostics) = compile("DeviceProcessEvents | summarize sum(FileName)", &Tables);
    assert_eq!(diagnostics.first().map(|diagnostic| diagnostic.code), Some("KS138"));
}

#[test]
fn what_the_engine_alone_rejects_is_a_warning() {
    check(
        "print iff(1 > 2, 'a', 5), case(1 > 2, 1, 3 > 4, int(2), long(null)), coalesce(dynamic(1), 5), coalesce(5, 1.5)",
        expect![[r#"
        warning[VD004]: `iff` chooses from values of one type in Kusto, which refuses this
         --> q.kql:1:7
          |
        1 | print iff(1 > 2, 'a', 5), case(1 > 2, 1, 3 > 4, int(2), long(null)), coalesce(dynamic(1), 5), coalesce(5, 1.5)
          |       ^^^^^^^^^^^^^^^^^^ from string and long
          = help: convert one of them
        warning[KS141]: the expression must have the type dynamic
         --> q.kql:1:91
          |
        1 | print iff(1 > 2, 'a', 5), case(1 > 2, 1, 3 > 4, int(2), long(null)), coalesce(dynamic(1), 5), coalesce(5, 1.5)
          |                                                                                           ^ with this all become dynamic
          = help: say `tostring(…)` of the dynamic values
        warning[VD004]: `coalesce` chooses from values of one type in Kusto, which refuses this
         --> q.kql:1:95
          |
        1 | print iff(1 > 2, 'a', 5), case(1 > 2, 1, 3 > 4, int(2), long(null)), coalesce(dynamic(1), 5), coalesce(5, 1.5)
          |                                                                                               ^^^^^^^^^^^^^^^^ from long and real
          = help: convert one of them
    "#]],
    );
    check(
        "DeviceEvents | where AdditionalFields.a == AdditionalFields.b and AdditionalFields.c != dynamic(null)",
        expect![[r#"
        warning[VD004]: two dynamic values are compared, which Kusto refuses
         --> q.kql:1:41
          |
        1 | DeviceEvents | where AdditionalFields.a == AdditionalFields.b and AdditionalFields.c != dynamic(null)
          |                                         ^^ both are dynamic
          = help: convert them, for example with `tostring()`
    "#]],
    );
}

#[test]
fn what_the_analyzer_alone_rejects_is_a_warning() {
    check(
        "DeviceEvents | project-rename DeviceName = DeviceName | extend part = split(DeviceName, '.')['-1'], who = coalesce(AdditionalFields.a, DeviceName)",
        expect![[r#"
            warning[KS171]: a column with the name `DeviceName` is already declared
             --> q.kql:1:31
              |
            1 | DeviceEvents | project-rename DeviceName = DeviceName | extend part = split(DeviceName, '.')['-1'], who = coalesce(AdditionalFields.a, DeviceName)
              |                               ^^^^^^^^^^ it has this name
            warning[KS141]: the expression must have one of the types int or long
             --> q.kql:1:94
              |
            1 | DeviceEvents | project-rename DeviceName = DeviceName | extend part = split(DeviceName, '.')['-1'], who = coalesce(AdditionalFields.a, DeviceName)
              |                                                                                              ^^^^ an array has no such element: it is null
            warning[KS141]: the expression must have the type dynamic
             --> q.kql:1:136
              |
            1 | DeviceEvents | project-rename DeviceName = DeviceName | extend part = split(DeviceName, '.')['-1'], who = coalesce(AdditionalFields.a, DeviceName)
              |                                                                                                                                        ^^^^^^^^^^ with this all become dynamic
              = help: say `tostring(…)` of the dynamic values
        "#]],
    );
    check(
        "let a = 1; let a = dynamic({}); print todynamic(a)",
        expect![[r#"
        warning[KS201]: the variable `a` is already declared
         --> q.kql:1:16
          |
        1 | let a = 1; let a = dynamic({}); print todynamic(a)
          |                ^ the last declaration counts
        warning[KS107]: `todynamic` expects a value of the type string
         --> q.kql:1:49
          |
        1 | let a = 1; let a = dynamic({}); print todynamic(a)
          |                                                 ^ this is dynamic
          = help: `parse_json()` takes it as it is
    "#]],
    );
    check(
        "DeviceEvents | join DeviceEvents on $right.DeviceName == $left.DeviceName",
        expect![[r#"
        warning[KS183]: the join condition operand must be: $left.<column>
         --> q.kql:1:37
          |
        1 | DeviceEvents | join DeviceEvents on $right.DeviceName == $left.DeviceName
          |                                     ^^^^^^^^^^^^^^^^^ the sides are exchanged
    "#]],
    );
}

#[test]
fn rows_in_no_order_have_no_neighbours() {
    check(
        "DeviceEvents | extend before = prev(DeviceName)",
        expect![[r#"
        warning[VD004]: `prev` needs rows in an order
         --> q.kql:1:32
          |
        1 | DeviceEvents | extend before = prev(DeviceName)
          |                                ^^^^ Kusto refuses it here
          = help: put `| sort by …` or `| serialize` before it
    "#]],
    );
    check(
        "DeviceEvents | sort by FileSize | summarize n = count() by DeviceName | where row_number() > 1",
        expect![[r#"
        warning[VD004]: `row_number` needs rows in an order
         --> q.kql:1:79
          |
        1 | DeviceEvents | sort by FileSize | summarize n = count() by DeviceName | where row_number() > 1
          |                                                                               ^^^^^^^^^^ Kusto refuses it here
          = help: put `| sort by …` or `| serialize` before it
    "#]],
    );
    for query in [
        "DeviceEvents | sort by FileSize | where FileSize > 1 | extend before = prev(DeviceName)",
        "DeviceEvents | summarize n = count() by DeviceName | serialize r = row_number()",
        "range x from 1 to 3 step 1 | extend r = row_number()",
        "let T = DeviceEvents | sort by FileSize; T | extend r = row_number()",
        "DeviceEvents | take 1 | mv-apply x = AdditionalFields on (extend r = row_number())",
    ] {
        assert_eq!(render(query, "q.kql", &compile(query, &Tables).1), "");
    }
}

#[test]
fn a_join_key_of_one_side_says_which() {
    check(
        "DeviceEvents | join (DeviceEvents | project x = 1) on DeviceName",
        expect![[r#"
        error[KS145]: the column `DeviceName` must exist on both sides of the join
         --> q.kql:1:55
          |
        1 | DeviceEvents | join (DeviceEvents | project x = 1) on DeviceName
          |                                                       ^^^^^^^^^^ not a column of the right
    "#]],
    );
    check(
        "DeviceEvents | where FileName !has_any ('a')",
        expect![[r#"
        error[KS002]: unexpected: `!`
         --> q.kql:1:31
          |
        1 | DeviceEvents | where FileName !has_any ('a')
          |                               ^^^^^^^^ found `!has_any`
    "#]],
    );
}

#[test]
fn what_merely_follows_stays_silent() {
    check(
        "let x = Nope | where a == 1; x | extend b = a + 1 | project b",
        expect![[r#"
        error[KS204]: unknown table `Nope`
         --> q.kql:1:9
          |
        1 | let x = Nope | where a == 1; x | extend b = a + 1 | project b
          |         ^^^^ not a known table, tabular variable or function
    "#]],
    );
}

#[test]
fn syntax_errors_point_at_the_place() {
    check(
        "DeviceEvents | wherez a",
        expect![[r#"
        error[KS176]: query operator expected
         --> q.kql:1:16
          |
        1 | DeviceEvents | wherez a
          |                ^^^^^^ found `wherez`
    "#]],
    );
    check(
        "print 'abc",
        expect![[r#"
        error[KS001]: missing: '
         --> q.kql:1:7
          |
        1 | print 'abc
          |       ^^^^ string literal without its closing quote
    "#]],
    );
    check(
        "DeviceEvents | where ActionType in (“File created”)",
        expect![[r#"
            error[KS005]: expected: )
             --> q.kql:1:43
              |
            1 | DeviceEvents | where ActionType in (“File created”)
              |                                           ^^^^^^^^ found `created”`
              = help: typographic quotes begin no text in KQL: write "…"
        "#]],
    );
    check(
        "DeviceEvents | where (1 == 1",
        expect![[r#"
        error[KS005]: expected: )
         --> q.kql:1:29
          |
        1 | DeviceEvents | where (1 == 1
          |                             ^ the query ends here
    "#]],
    );
    check(
        "DeviceEvents | extend y = 1, | take 1",
        expect![[r#"
        error[KS006]: missing expression
         --> q.kql:1:30
          |
        1 | DeviceEvents | extend y = 1, | take 1
          |                              ^ found `|`
    "#]],
    );
    check(
        ".show tables",
        expect![[r#"
        error[VD002]: management command `.show` is not a query
         --> q.kql:1:1
          |
        1 | .show tables
          | ^^^^^ a management command
          = help: Vidette runs queries; leave the leading `.` command out
    "#]],
    );
    check(
        "DeviceEvents | sample 3",
        expect![[r#"
        error[VD001]: the operator `sample` is valid KQL that Vidette does not run yet
         --> q.kql:1:16
          |
        1 | DeviceEvents | sample 3
          |                ^^^^^^ not supported yet
    "#]],
    );
}

#[test]
fn columns_are_named_and_typed_as_kusto_does() {
    columns(
        "DeviceEvents | summarize count(), dcount(DeviceName), max(FileSize), make_set(DeviceName), percentile(FileSize, 99.5), countif(FileSize > 1) / 2 by bin(FileSize, 10), strlen(DeviceName)",
        expect!["FileSize:long strlen_DeviceName:long count_:long dcount_DeviceName:long max_FileSize:long set_DeviceName:dynamic percentile_FileSize_99_5:long Column1:long"],
    );
    columns(
        "DeviceEvents | project AdditionalFields.a.b, AdditionalFields['c'], tostring(AdditionalFields.z), FileSize + 1, -FileSize, FileSize in (1, 2)",
        expect!["AdditionalFields_a_b:dynamic AdditionalFields_c:dynamic AdditionalFields_z:string Column1:long Column2:long Column3:bool"],
    );
    columns(
        "DeviceEvents | project DeviceName, A = 1 | join kind=inner (DeviceEvents | project DeviceName, A = 2) on DeviceName",
        expect!["DeviceName:string A:long DeviceName1:string A1:long"],
    );
    columns(
        "print int(1) + int(2), 1 / 2.0, 1d / 1h, now() - 1d, max_of(1, 2.0), dynamic({}).a.b, todatetime('x')",
        expect!["print_0:long print_1:real print_2:real print_3:datetime print_4:real print_5:dynamic print_6:datetime"],
    );
}

/// The queries of all pages, cut, doubled and mixed: the front end answers each with diagnostics or a plan, never a panic, and
/// every span lies within the text. `VIDETTE_LAWS=N` tries N times as many.
#[test]
fn broken_texts_are_answered() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../vidette-engine/src");
    let mut queries = Vec::new();
    let mut waiting = vec![folder];
    while let Some(folder) = waiting.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(path).expect("a page");
                queries.extend(text.split("```kql\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned));
            }
        }
    }
    assert!(queries.len() > 150, "{} queries", queries.len());
    let pieces = [
        "|",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "@\"",
        "```",
        "--",
        "*",
        "..",
        "=>",
        "let",
        "summarize",
        "by",
        "dynamic(",
        "datetime(",
        "1d",
        "0x",
        "\u{feff}",
        "ß",
        "\\",
        "//",
        "#",
        "\0",
        "((((((((((",
    ];
    let mut rng = fastrand::Rng::with_seed(42);
    let rounds = 20_000 * std::env::var("VIDETTE_LAWS").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    for _ in 0..rounds {
        let mut text = rng.choice(&queries).cloned().unwrap_or_default();
        for _ in 0..rng.usize(1..4) {
            let place = |rng: &mut fastrand::Rng, text: &str| text.char_indices().map(|(at, _)| at).nth(rng.usize(..text.chars().count().max(1))).unwrap_or(0);
            let (a, b) = (place(&mut rng, &text), place(&mut rng, &text));
            let (from, to) = (a.min(b), a.max(b));
            match rng.u8(..5) {
                0 => text = text[..from].chars().chain(text[from..].chars().skip(rng.usize(..12))).collect(),
                1 => text.insert_str(from, rng.choice(pieces).unwrap_or("|")),
                2 => text.truncate(to),
                3 => text = format!("{}{}", &text[..to], &text[from..]),
                _ => {
                    let other = rng.choice(&queries).cloned().unwrap_or_default();
                    let cut = place(&mut rng, &other);
                    text.insert_str(from, &other[cut..]);
                }
            }
            text = text.chars().take(4000).collect();
        }
        let (queries, diagnostics) = compile(&text, &Tables);
        for diagnostic in &diagnostics {
            assert!(diagnostic.span.start <= diagnostic.span.end && diagnostic.span.end as usize <= text.len(), "{text}\n{diagnostic:?}");
        }
        assert!(
            !queries.is_empty() || !diagnostics.is_empty() || parse(&text).0.statements.iter().all(|statement| !matches!(statement, vidette_kql::syntax::Statement::Expression(_))),
            "{text}"
        );
        render(&text, "q.kql", &diagnostics);
    }
}
