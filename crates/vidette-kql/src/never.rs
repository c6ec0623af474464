//! What of KQL will never run here, and why; whatever else is refused is not there yet.

/// Each reason with the operators, functions and plugins that it keeps out.
const NEVER: &[(&str, &[&str])] = &[
    ("no query reaches the network", &["http_request", "http_request_post", "inline_external_table"]),
    ("no query runs foreign code", &["python", "r", "csharp"]),
    ("no query reaches another database", &["sql_request", "mysql_request", "postgresql_request", "cosmosdb_sql_request"]),
    (
        "no query reaches another service",
        &["azure_digital_twins_query_request", "dax_request", "ai_embed_text", "ai_embeddings", "ai_chat_completion", "ai_chat_completion_prompt"],
    ),
    ("there is no cluster's storage", &["infer_storage_schema", "infer_storage_schema_with_suggestions", "extent_id", "extentid", "extent_tags", "rowstore_ordinal_range"]),
    ("there is no other cluster", &["execute_query"]),
    ("there is no cluster to show", &["execute_show_command"]),
    ("there is no cluster's catalog", &["external_table", "materialized_view", "stored_query_result", "entity_group", "graph"]),
    ("there is no cluster's ingestion", &["cursor_after", "cursor_before_or_at", "cursor_current", "current_cursor"]),
    ("Kusto does not document how hashes are combined", &["hash_combine", "hash_many"]),
    ("there is no cluster", &["current_cluster_endpoint", "current_database", "current_node_id"]),
    ("nobody signs in to a folder of files", &["current_principal", "current_principal_details", "current_principal_is_member_of"]),
    ("there are no entity groups without clusters", &["macro-expand"]),
    ("Kusto does not document it", &["row_id", "iscolumnexists", "estimate_rows_count", "external_datatable", "identity_v3"]),
];

/// Why something of this name never runs.
pub fn why_never(name: &str) -> Option<&'static str> {
    NEVER.iter().find(|(_, names)| names.contains(&name)).map(|(why, _)| *why)
}
