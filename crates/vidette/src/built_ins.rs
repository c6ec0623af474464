//! What queries may name everywhere: the tables of Defender and Log Analytics, and the functions of Sentinel, Defender and the
//! packs in the binary.

use crate::workspace::columns;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};
use vidette_engine::BuiltIns;
use vidette_kql::syntax::{FunctionDeclaration, LetValue, Statement};
use vidette_kql::{ScalarType, Watchlist};
use vidette_telemetry::schemas::TABLES;

/// Microsoft's unifying parsers over Defender's tables.
const ASIM: &str = include_str!("../functions/asim.kql");
const PLATFORM: &str = include_str!("../functions/platform.kql");

/// The schemas of ASIM, each a function with four names; some have further names for a part of their events.
const ASIM_SCHEMAS: &[(&str, &[&str])] = &[
    ("Dns", &[]),
    ("NetworkSession", &[]),
    ("WebSession", &[]),
    ("ProcessEvent", &["Process", "ProcessCreate", "ProcessEventCreate", "ProcessEvent_Create"]),
    ("ProcessTerminate", &["ProcessEventTerminate", "ProcessEvent_Terminate"]),
    ("FileEvent", &[]),
    ("RegistryEvent", &["Registry"]),
    ("Authentication", &[]),
    ("AuditEvent", &[]),
    ("UserManagement", &[]),
    ("AlertEvent", &[]),
    ("DhcpEvent", &[]),
];

/// What Defender's enrichment functions add. Kusto docs do not know them; Defender's pages `advanced-hunting-fileprofile-function`,
/// `advanced-hunting-devicefromip-function` and `advanced-hunting-seenby-function` do.
const ENRICHMENTS: &[(&str, &str)] = &[
    (
        "FileProfile",
        "SHA1:string SHA256:string MD5:string FileSize:long GlobalPrevalence:long GlobalFirstSeen:datetime GlobalLastSeen:datetime Signer:string Issuer:string SignerHash:string \
         IsCertificateValid:bool IsRootSignerMicrosoft:bool SignatureState:string IsExecutable:bool ThreatName:string Publisher:string SoftwareName:string ProfileAvailability:string",
    ),
    ("DeviceFromIP", "IP:string DeviceId:string"),
    ("SeenBy", "SeenBy:dynamic"),
];

/// All of it, made when it is asked for: most runs name a table or two.
pub struct Known;

/// A function and its text, which is parsed when a query calls it.
struct Saved {
    text: &'static str,
    parsed: OnceLock<Option<Arc<FunctionDeclaration>>>,
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Saved>> =
    LazyLock::new(|| texts().flat_map(statements).map(|(name, text)| (name, Saved { text, parsed: OnceLock::new() })).collect());

fn texts() -> impl Iterator<Item = &'static str> {
    [ASIM, PLATFORM].into_iter().chain(vidette_rules::embedded_functions())
}

/// The statements of a text, by name; each begins a line with `let`.
fn statements(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    text.split("\nlet ").skip(1).filter_map(|rest| Some((rest.split_once([' ', '='])?.0, rest)))
}

/// The function of ASIM's schema that one of its many names means.
fn unaliased(name: &str) -> Option<String> {
    let schema = ["_Im_", "im", "_ASim_", "ASim"].iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let (schema, _) = ASIM_SCHEMAS.iter().find(|(known, others)| *known == schema || others.contains(&schema))?;
    Some(format!("_Im_{schema}"))
}

impl Saved {
    fn declaration(&self) -> Option<Arc<FunctionDeclaration>> {
        let parse = || {
            let (query, _) = vidette_kql::parse(&format!("let {}", self.text));
            query.statements.into_iter().find_map(|statement| match statement {
                Statement::Let { value: LetValue::Function(function), .. } => Some(Arc::new(function)),
                _ => None,
            })
        };
        self.parsed.get_or_init(parse).clone()
    }
}

impl BuiltIns for Known {
    fn tables(&self) -> Vec<&'static str> {
        TABLES.keys().copied().collect()
    }

    fn columns(&self, table: &str) -> Option<Vec<(String, ScalarType)>> {
        TABLES.get(table).map(columns)
    }

    fn function(&self, name: &str) -> Option<Arc<FunctionDeclaration>> {
        let saved = |name: &str| FUNCTIONS.get(name)?.declaration();
        saved(name).or_else(|| saved(&unaliased(name)?))
    }

    fn enrichment(&self, name: &str) -> Option<Vec<(String, ScalarType)>> {
        let (_, columns) = ENRICHMENTS.iter().find(|(known, _)| *known == name)?;
        let columns = columns.split_whitespace().filter_map(|column| column.split_once(':'));
        Some(columns.filter_map(|(name, ty)| Some((name.to_owned(), ScalarType::from_name(ty)?))).collect())
    }

    fn watchlist(&self, alias: &str) -> Option<Watchlist> {
        vidette_rules::embedded().iter().flat_map(|pack| &pack.watchlists).find(|(known, _)| known == alias).map(|(_, list)| list.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vidette_engine::Workspace;
    use vidette_kql::compile;

    #[test]
    fn every_function_of_the_platform_binds_and_keeps_its_columns() {
        let workspace = Workspace::default().with_built_ins(&Known);
        for (schema, _) in ASIM_SCHEMAS {
            let (queries, diagnostics) = compile(&format!("_Im_{schema}"), &workspace);
            assert!(diagnostics.is_empty(), "{schema}: {diagnostics:?}");
            let (empty, _) = compile(&format!("_Asim{schema}Columns"), &workspace);
            let columns = |query: &vidette_kql::bound::Query| query.columns.iter().map(|column| (column.name.clone(), column.ty)).collect::<Vec<_>>();
            assert_eq!(columns(&queries[0]), columns(&empty[0]), "{schema}");
        }
    }

    #[test]
    fn every_function_is_found_as_it_was_written() {
        for text in texts() {
            let (query, diagnostics) = vidette_kql::parse(text);
            assert!(diagnostics.is_empty(), "{diagnostics:?}");
            let written = query.statements.iter().map(|statement| match statement {
                Statement::Let { name, value: LetValue::Function(function) } => (name.node.as_str(), function.parameters.len(), function.body.statements.len()),
                other => panic!("{other:?}"),
            });
            let found = statements(text).map(|(name, _)| Known.function(name).map(|function| (name, function.parameters.len(), function.body.statements.len())));
            assert_eq!(found.collect::<Vec<_>>(), written.map(Some).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_schema_has_many_names() {
        for name in ["_Im_ProcessEvent", "imProcessCreate", "ASimProcessEvent", "_ASim_ProcessEvent_Create"] {
            assert!(Known.function(name).is_some_and(|function| Arc::ptr_eq(&function, &Known.function("imProcessEvent").unwrap())), "{name}");
        }
        for name in ["im", "imp", "_Im_", "ASimElse"] {
            assert!(Known.function(name).is_none(), "{name}");
        }
    }
}
