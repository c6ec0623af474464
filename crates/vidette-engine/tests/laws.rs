//! Random expressions against laws that hold whatever they are: over rows and over constants they give the same, a condition
//! parts the rows in three, `top` is `sort` and `take`, a join has the products of its keys.
//! Seeds are fixed; `VIDETTE_LAWS=N` tries N times as many.

use fastrand::Rng;
use serde_json::Value;
use std::fmt::Write;
use vidette_engine::{Clock, Workspace};
use vidette_kql::time::parse_datetime;

const STRINGS: &[&str] =
    &["", "a", "powershell.exe -enc SQBF", "C:\\\\Windows\\\\a b.dll", "pastebin.com/raw", "ÄÖ straße", "a,b;c", "42", "-1.5e3", "{\\\"k\\\": [1, 2]}", "  x  "];
const LONGS: &[&str] = &["0", "1", "-7", "42", "9007199254740993", "long(null)", "-1000000"];
const REALS: &[&str] = &["0.0", "1.5", "-2.25", "1e10", "real(null)", "0.1"];
const TIMES: &[&str] = &["datetime(2024-02-29 12:34:56.7)", "datetime(1999-12-31)", "datetime(null)", "datetime(2024-03-31 01:59:59.9999999)"];
const DYNAMICS: &[&str] = &["dynamic({\"k\": [1, 2], \"s\": \"x\"})", "dynamic([1, \"a\", null])", "dynamic(null)", "dynamic(\"text\")", "dynamic({\"k\": {\"k\": 3}})"];

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Bool,
    Long,
    Real,
    Text,
    Time,
    Dynamic,
}

/// The columns: name, type, literals.
const COLUMNS: &[(&str, Type, &[&str])] = &[
    ("b", Type::Bool, &["true", "false", "bool(null)"]),
    ("n", Type::Long, LONGS),
    ("m", Type::Long, LONGS),
    ("r", Type::Real, REALS),
    ("s", Type::Text, STRINGS),
    ("u", Type::Text, STRINGS),
    ("t", Type::Time, TIMES),
    ("d", Type::Dynamic, DYNAMICS),
];

fn literal(rng: &mut Rng, column: &(&str, Type, &[&str])) -> String {
    let text = rng.choice(column.2).copied().unwrap_or_default();
    if column.1 == Type::Text { format!("\"{text}\"") } else { text.to_owned() }
}

/// `{…}` in a form is an expression of that type.
const FORMS: &[(Type, &[&str])] = &[
    (
        Type::Bool,
        &[
            "({L} < {L})",
            "({L} == {L})",
            "({R} >= {R})",
            "({S} has {S})",
            "({S} contains {S})",
            "({S} startswith {S})",
            "({S} == {S})",
            "({S} =~ {S})",
            "({S} !has {S})",
            "({S} in ({S}, 'a', ''))",
            "({S} has_any ('exe', 'pastebin', 'b'))",
            "isempty({S})",
            "isnull({L})",
            "not({B})",
            "({B} and {B})",
            "({B} or {B})",
            "({T} > {T})",
            "({L} between (0 .. 50))",
            "isnotnull({T})",
            "iff({B}, {B}, {B})",
            "({S} matches regex '[a-c]+')",
            "isnotempty({D})",
            "({S} endswith_cs {S})",
            "({S} hasprefix {S})",
        ],
    ),
    (
        Type::Long,
        &[
            "({L} + {L})",
            "({L} - {L})",
            "({L} % 5)",
            "strlen({S})",
            "iff({B}, {L}, {L})",
            "coalesce({L}, {L})",
            "bin({L}, 7)",
            "countof({S}, 'a')",
            "indexof({S}, 'e')",
            "tolong({S})",
            "array_length({D})",
            "abs({L})",
            "hourofday({T})",
            "datetime_diff('day', {T}, {T})",
            "case({B}, {L}, {B}, {L}, 3)",
            "max_of({L}, {L})",
            "binary_and({L}, 255)",
            "tolong({D}.k[0])",
            "dayofyear({T})",
        ],
    ),
    (Type::Real, &["({R} + {R})", "({R} * 0.5)", "({L} * {R})", "todouble({S})", "round({R}, 1)", "iff({B}, {R}, {R})", "floor({R}, 0.5)", "abs({R})", "sqrt(abs({R}))"]),
    (
        Type::Text,
        &[
            "strcat({S}, '-', {S})",
            "substring({S}, 1, 4)",
            "toupper({S})",
            "tolower({S})",
            "tostring({L})",
            "replace_string({S}, 'a', 'bb')",
            "extract('([a-z]+)', 1, {S})",
            "trim('[ a]+', {S})",
            "tostring(split({S}, '.')[0])",
            "reverse({S})",
            "iff({B}, {S}, {S})",
            "tostring({D}.s)",
            "tostring({T})",
            "url_encode({S})",
            "base64_encode_tostring({S})",
            "tostring({D}.k)",
            "tostring({B})",
            "strcat_array(split({S}, ' '), '|')",
            "hash_sha256({S})",
            "tostring(parse_path({S}).Filename)",
            "tostring(parse_json({S}).k)",
            "format_datetime({T}, 'yyyy-MM-dd HH')",
        ],
    ),
    (Type::Time, &["({T} + 1h)", "bin({T}, 1d)", "startofmonth({T})", "datetime_add('month', 1, {T})", "iff({B}, {T}, {T})", "endofday({T})", "todatetime({S})"]),
    (
        Type::Dynamic,
        &[
            "pack_array({L}, {S})",
            "split({S}, 'a')",
            "{D}.k",
            "bag_pack('k', {L}, 's', {S})",
            "parse_json({S})",
            "array_concat({D}, dynamic([1]))",
            "set_union({D}, dynamic([\"a\"]))",
            "extract_all('([a-c])', {S})",
        ],
    ),
];

/// An expression of the type, over columns.
fn expression(rng: &mut Rng, ty: Type, depth: usize) -> String {
    let forms = FORMS.iter().find(|(of, _)| *of == ty).map_or(&[][..], |(_, forms)| *forms);
    if depth == 0 || rng.u8(..5) == 0 {
        let columns: Vec<_> = COLUMNS.iter().filter(|column| column.1 == ty).collect();
        return rng.choice(columns).map(|column| column.0.to_owned()).unwrap_or_default();
    }
    let form = rng.choice(forms).copied().unwrap_or_default();
    let mut text = String::new();
    let mut rest = form;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        let ty = match &rest[at + 1..at + 2] {
            "B" => Type::Bool,
            "L" => Type::Long,
            "R" => Type::Real,
            "S" => Type::Text,
            "T" => Type::Time,
            _ => Type::Dynamic,
        };
        text.push_str(&expression(rng, ty, depth - 1));
        rest = &rest[at + 3..];
    }
    text + rest
}

struct Data {
    rows: Vec<Vec<String>>,
}

impl Data {
    fn new(rng: &mut Rng, rows: usize) -> Data {
        Data { rows: (0..rows).map(|_| COLUMNS.iter().map(|column| literal(rng, column)).collect()).collect() }
    }

    fn table(&self) -> String {
        let types = |ty: Type| match ty {
            Type::Bool => "bool",
            Type::Long => "long",
            Type::Real => "real",
            Type::Text => "string",
            Type::Time => "datetime",
            Type::Dynamic => "dynamic",
        };
        let names: Vec<String> = COLUMNS.iter().map(|(name, ty, _)| format!("{name}: {}", types(*ty))).collect();
        let rows: Vec<String> = self.rows.iter().map(|row| row.join(", ")).collect();
        format!("datatable({}) [{}]", names.join(", "), rows.join(", "))
    }
}

async fn answer(query: &str) -> Vec<Vec<Value>> {
    let now = Clock::at(parse_datetime("2024-05-01").expect("a date"));
    match Workspace::default().query(query, now).await {
        Ok(result) => result.tables[0].rows().to_vec(),
        Err(error) => panic!("{query}\n{error:?}"),
    }
}

fn rounds(few: usize) -> usize {
    few * std::env::var("VIDETTE_LAWS").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

#[tokio::test]
async fn rows_and_constants_give_the_same() {
    let mut rng = Rng::with_seed(20_240_501);
    for _ in 0..rounds(40) {
        let data = Data::new(&mut rng, 12);
        let expressions: Vec<String> = [Type::Bool, Type::Long, Type::Real, Type::Text, Type::Time, Type::Dynamic].into_iter().map(|ty| expression(&mut rng, ty, 3)).collect();
        let shown: Vec<String> = expressions.iter().enumerate().map(|(at, expression)| format!("x{at} = {expression}")).collect();
        let over_rows = answer(&format!("{} | project {}", data.table(), shown.join(", "))).await;
        for (row, found) in data.rows.iter().zip(over_rows) {
            let mut query = String::new();
            for (column, literal) in COLUMNS.iter().zip(row) {
                let _ = writeln!(query, "let {} = {literal};", column.0);
            }
            let constant = answer(&format!("{query}print {}", shown.join(", "))).await;
            for (at, expression) in expressions.iter().enumerate() {
                assert_eq!(found[at], constant[0][at], "{expression}\n{query}");
            }
        }
    }
}

#[tokio::test]
async fn a_condition_parts_the_rows_in_three() {
    let mut rng = Rng::with_seed(7);
    for _ in 0..rounds(150) {
        let table = Data::new(&mut rng, 30).table();
        let condition = expression(&mut rng, Type::Bool, 4);
        let counts = answer(&format!("{table} | summarize all = count(), yes = countif({condition}), no = countif(not({condition})), null = countif(isnull({condition}))")).await;
        let [all, yes, no, null] = [0, 1, 2, 3].map(|at| counts[0][at].as_i64().expect("a count"));
        assert_eq!(all, yes + no + null, "{table}\n{condition}");
        let kept = answer(&format!("{table} | where {condition} | count")).await;
        assert_eq!(kept[0][0], yes, "{table}\n{condition}");
        let both = answer(&format!("let T = {table}; union (T | where {condition}), (T | where not({condition})), (T | where isnull({condition})) | count")).await;
        assert_eq!(both[0][0], all, "{table}\n{condition}");
    }
}

#[tokio::test]
async fn top_is_sort_and_take() {
    let mut rng = Rng::with_seed(11);
    for _ in 0..rounds(40) {
        let table = Data::new(&mut rng, 30).table();
        let (first, second) = (expression(&mut rng, Type::Long, 2), expression(&mut rng, Type::Text, 2));
        let keys = format!("leader {}, second {} nulls last", rng.choice(["asc", "desc"]).unwrap_or("asc"), rng.choice(["asc", "desc"]).unwrap_or("asc"));
        let values = format!("{table} | project leader = {first}, second = {second}");
        let top = answer(&format!("{values} | top 7 by {keys}")).await;
        assert_eq!(top, answer(&format!("{values} | sort by {keys} | take 7")).await, "{values}\n{keys}");
        let numbered = answer(&format!("{values} | sort by {keys} | extend place = row_number() | where place <= 7 | project-away place")).await;
        assert_eq!(top, numbered, "{values}\n{keys}");
    }
}

/// A needle that is the same for all rows is searched for in all texts at once, one of a column in each text.
#[tokio::test]
async fn a_search_over_a_batch_is_one_per_text() {
    const OPERATORS: &[&str] = &["has", "has_cs", "hasprefix", "hassuffix_cs", "contains", "contains_cs", "startswith", "endswith_cs", "=~", "!has"];
    const PARTS: &[&str] = &["ab", "a", "B", "-", ".", "x-a", "aB", "7", " ", "k", "\u{212a}", "ß"];
    let mut rng = Rng::with_seed(11);
    for round in 0..rounds(40) {
        // Every other batch is ASCII.
        let parts = if round % 2 == 0 { &PARTS[..10] } else { PARTS };
        let word = |rng: &mut Rng, most: usize| (0..rng.usize(0..=most)).map(|_| *rng.choice(parts).unwrap_or(&"")).collect::<String>();
        let rows: Vec<String> = (0..40).map(|_| format!("\"{}\"", word(&mut rng, 6))).collect();
        let (needle, other) = (word(&mut rng, 3), word(&mut rng, 2));
        let table = format!("datatable(s: string) [{}] | extend needle = '{needle}'", rows.join(", "));
        for operator in OPERATORS {
            let differ = format!("{table} | where (s {operator} '{needle}') != (s {operator} substring(strcat(needle, s), 0, {}))", needle.chars().count());
            assert!(answer(&differ).await.is_empty(), "{differ}");
        }
        let differ = format!("{table} | where (s has_any ('{needle}', '{other}')) != (s has '{needle}' or s has '{other}')");
        assert!(answer(&differ).await.is_empty(), "{differ}");
    }
}

#[tokio::test]
async fn a_join_has_the_products_of_its_keys() {
    let mut rng = Rng::with_seed(13);
    for _ in 0..rounds(40) {
        let (left, right) = (Data::new(&mut rng, 25).table(), Data::new(&mut rng, 20).table());
        let key = expression(&mut rng, Type::Text, 2);
        let sides = format!("let L = {left} | extend key = {key}; let R = {right} | extend key = {key};");
        let products = answer(&format!(
            "{sides} L | summarize l = count() by key | join kind=inner (R | summarize r = count() by key) on key | summarize pairs = sum(l * r), matched = sum(l)"
        ))
        .await;
        let counts = answer(&format!(
            "{sides} print inner = toscalar(L | join kind=inner R on key | count), semi = toscalar(L | join kind=leftsemi R on key | count), anti = toscalar(L | join kind=leftanti R on key | count), outer = toscalar(L | join kind=leftouter R on key | count), in_ = toscalar(L | where key in ((R | project key)) | count)"
        ))
        .await;
        let [inner, semi, anti, outer, within] = [0, 1, 2, 3, 4].map(|at| counts[0][at].as_i64().expect("a count"));
        assert_eq!(products[0][0].as_i64(), Some(inner), "{sides}");
        assert_eq!((products[0][1].as_i64(), semi + anti, outer, within), (Some(semi), 25, inner + anti, semi), "{sides}");
    }
}

#[tokio::test]
async fn parts_summarize_to_the_whole() {
    let mut rng = Rng::with_seed(17);
    for _ in 0..rounds(40) {
        let table = Data::new(&mut rng, 40).table();
        let (value, key) = (expression(&mut rng, Type::Long, 2), expression(&mut rng, Type::Text, 2));
        let rows = format!("let T = {table} | project v = {value}, k = {key};");
        let whole = answer(&format!("{rows} T | summarize count(), sum(v), min(v), max(v), dcount(k), array_sort_asc(make_set(k))")).await;
        let parts = answer(&format!(
            "{rows} T | summarize c = count(), s = sum(v), least = min(v), most = max(v) by k | summarize sum(c), sum(s), min(least), max(most), count(), array_sort_asc(make_list(k))"
        ))
        .await;
        assert_eq!(whole, parts, "{rows}");
    }
}

/// Every scalar function and aggregate over texts, documents and numbers that no one meant for it: an answer or an error, never
/// a panic.
/// Columns with the ends of their types.
const ENDS: &str = "
| extend i = case(n == 1, int(2147483647), n == 2, int(-2147483648), n == 3, int(0), int(null))
| extend q = case(n == 1, 9223372036854775807, n == 2, long(-9223372036854775808), n == 3, 0, n == 4, -1, long(null))
| extend r = case(n == 1, 1.7976931348623157e308, n == 2, real(-inf), n == 3, real(nan), n == 4, -0.5, n == 5, 0.0, real(null))
| extend t = case(n == 1, datetime(9999-12-31 23:59:59.9999999), n == 2, datetime(0001-01-01), n == 3, datetime(2024-02-29), datetime(null))
| extend p = case(n == 1, 10675198d, n == 2, -10675198d, n == 3, 0s, n == 4, -1tick, timespan(null))";

#[tokio::test]
async fn hostile_values_break_no_function() {
    const HOSTILE: &[&str] = &[
        "\u{feff}0001,ab",
        "ÄÖÜ",
        "00Ä01",
        "2024-02-30T25:61:61+99:99",
        "1.1.1.1/99",
        "::ffff:1.2.3.4%eth0",
        "{\\\"a\\\": [",
        "[[[[[[[[",
        "-",
        "0x",
        "\u{0}",
        "%C3%28%",
        "99999999999999999999",
        "1e999",
        "0.1.2.3.4.5",
        "LINESTRING (1",
        "{\\\"type\\\":\\\"Polygon\\\",\\\"coordinates\\\":[[[0,0],[0,0],[400,400]]]}",
        "<a><b></a>",
        "dr5ru",
        "89c259ffffff",
        "\u{1F600}",
        "ab\u{301}",
    ];
    let numbers = [
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775807",
        "1e308",
        "double(nan)",
        "double(-inf)",
        "long(null)",
        "datetime(9999-12-31)",
        "time(10675199.02:48:05.4775807)",
        "true",
    ];
    let mut rng = Rng::with_seed(23);
    let mut names: Vec<&str> = vidette_kql::SCALAR_FUNCTIONS.keys().copied().filter(|name| !matches!(*name, "range" | "repeat" | "strrep" | "new_guid")).collect();
    names.sort_unstable();
    let table: Vec<String> = HOSTILE.iter().map(|text| format!("\"{text}\"")).collect();
    let table = format!("datatable(s: string) [{}] | extend n = row_number(), d = parse_json(s), l = pack_array(s, 1, dynamic(null)){ENDS}", table.join(", "));
    let now = Clock::at(parse_datetime("2024-05-01").expect("a date"));
    let (mut answered, mut broken) = (0, Vec::new());
    let operators = ["+", "-", "*", "/", "%"];
    for name in names.into_iter().chain(operators) {
        for _ in 0..rounds(6) {
            let count = rng.usize(1..5);
            let argument = |rng: &mut Rng| match rng.u8(..13) {
                0 | 1 => "s".to_owned(),
                2 => "d".to_owned(),
                3 => "l".to_owned(),
                4 => "n".to_owned(),
                end @ 8..13 => ["i", "q", "r", "t", "p"][usize::from(end) - 8].to_owned(),
                5 => format!("\"{}\"", rng.choice(HOSTILE).copied().unwrap_or_default()),
                _ => rng.choice(numbers).unwrap_or("0").to_owned(),
            };
            let arguments: Vec<String> = (0..count).map(|_| argument(&mut rng)).collect();
            let call = if operators.contains(&name) { arguments.join(name) } else { format!("{name}({})", arguments.join(", ")) };
            let query = format!("{table} | extend x = {call} | project x");
            match tokio::spawn(async move { Workspace::default().query(&query, now).await }).await {
                Ok(Ok(result)) => answered += usize::from(result.tables[0].rows().len() == HOSTILE.len()),
                // A value that a function refuses has words of its own.
                Ok(Err(error)) if !["panic", "Arrow error", "Optimizer rule"].iter().any(|bug| error.to_string().contains(bug)) => {}
                Ok(Err(error)) => broken.push(format!("{call}: {error}")),
                Err(error) => broken.push(format!("{call}: {error}")),
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(answered > 300, "{answered} answers, {:?}", Workspace::default().query(&table, now).await.err());
}
