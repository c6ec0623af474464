//! IBM QRadar: AQL. The names in double quotes are the custom properties of IBM's Sysmon content extension. See "Ariel Query
//! Language" of IBM.

use super::Written;
use super::model::{Model, NO_BARE, NO_SCORE, head};
use crate::pack::Pack;

pub fn write(pack: &Pack) -> Written {
    let model = Model::of(pack)?;
    let notes = head("--", &[NO_SCORE, NO_BARE]);
    let image = |pattern: &str| format!(r#""Image" IMATCHES '.*[\\/]{pattern}$'"#);
    let select = r#"SELECT DATEFORMAT(MIN(starttime), 'yyyy-MM-dd HH:mm:ss') AS first_time, "Machine Identifier" AS machine, username, "Image" AS program, COUNT(*) AS events"#;
    let dns = format!(
        "{notes}{select}, UNIQUECOUNT(\"Query Name\") AS hosts\nFROM events\nWHERE \"EventID\" = '22' AND (\n  {engine} AND \"Query Name\" IMATCHES '(.*\\.)?{hosts}'\n  OR {client} AND \"Query Name\" IMATCHES '(.*\\.)?{webdav}'\n)\nGROUP BY \"Machine Identifier\", username, \"Image\"\nLAST 24 HOURS\n",
        engine = image(&model.engine_pattern()),
        client = image(&model.webdav_client_pattern()),
        hosts = model.host_pattern().trim_start_matches(r"(^|\.)").trim_end_matches('$'),
        webdav = model.webdav_pattern().trim_start_matches(r"(^|\.)").trim_end_matches('$'),
    );
    let process = format!(
        "{notes}{select}, FIRST(\"Process CommandLine\") AS command_line\nFROM events\nWHERE \"EventID\" = '1' AND (\n  {engine} AND \"Process CommandLine\" IMATCHES '.*{command}.*'\n  OR \"Process CommandLine\" IMATCHES '.*\\buse\\b.*https?://.*'\n  OR \"Process CommandLine\" IMATCHES '.*\\\\\\\\[a-z0-9.-]+@ssl.*'\n)\nGROUP BY \"Machine Identifier\", username, \"Image\"\nLAST 24 HOURS\n",
        engine = image(&model.engine_pattern()),
        command = model.command_pattern(),
    );
    Ok(vec![("web_service_dns.aql".to_owned(), dns), ("web_service_process.aql".to_owned(), process)])
}
