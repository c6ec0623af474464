//! Words of the language that are names only in brackets, as Microsoft's analyzer has them.

/// Nothing can be given such a name, and none is read by it, without brackets.
const RESERVED: &[&str] = &[
    "and",
    "anomalychart",
    "areachart",
    "asc",
    "bagexpansion",
    "barchart",
    "between",
    "boolean",
    "card",
    "columnchart",
    "cycles",
    "datascope",
    "date",
    "datetime",
    "decimal",
    "decodeblocks",
    "desc",
    "double",
    "dynamic",
    "endswith",
    "expandoutput",
    "external_data",
    "first",
    "flags",
    "force_remote",
    "int",
    "isfuzzy",
    "ladderchart",
    "last",
    "linechart",
    "long",
    "missing",
    "or",
    "others",
    "piechart",
    "pivotchart",
    "project",
    "real",
    "relaxed",
    "scatterchart",
    "simple",
    "stackedareachart",
    "startswith",
    "string",
    "time",
    "timechart",
    "timeline",
    "timepivot",
    "timespan",
    "treemap",
    "union",
    "uniqueid",
    "with_itemindex",
    "with_match_id",
];
/// Names that can be given, but are not read without brackets.
const NOT_READ: &[&str] = &[
    "accumulate",
    "as",
    "by",
    "contains",
    "earliest",
    "find",
    "has",
    "in",
    "invoke",
    "latest",
    "materialize",
    "of",
    "print",
    "sample",
    "search",
    "set",
    "sql",
    "title",
    "to",
    "where",
];
/// Names that are read, but cannot be given without brackets.
const NOT_GIVEN: &[&str] = &["kind", "with_source", "withsource"];

/// Whether a column can be given the name without brackets.
pub(crate) fn can_be_given(name: &str) -> bool {
    !RESERVED.contains(&name) && !NOT_GIVEN.contains(&name)
}

/// Whether a column is read by the name without brackets.
pub(crate) fn can_be_read(name: &str) -> bool {
    !RESERVED.contains(&name) && !NOT_READ.contains(&name)
}
