//! Elastic's EQL and ES|QL over the Elastic Common Schema. See "EQL syntax reference" and "ES|QL reference" of Elastic.

use super::Written;
use super::model::{Model, NO_BARE, NO_SCORE, alternatives, head};
use crate::pack::Pack;

pub fn eql(pack: &Pack) -> Written {
    let model = Model::of(pack)?;
    let list = |values: &mut dyn Iterator<Item = String>| values.map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ");
    let programs = list(&mut model.engines.iter().cloned().chain(["python3*.exe".to_owned()]).chain(model.unix_engines.iter().cloned()).chain(["python3*".to_owned()]));
    let below = |hosts: &[String]| list(&mut hosts.iter().flat_map(|host| [host.clone(), format!("*.{host}")]));
    let commands = list(&mut model.hosts.iter().flat_map(|host| [format!("*://{host}*"), format!("*.{host}/*"), format!("*\\\\\\\\{host}*")]));
    let notes = head("//", &[NO_SCORE, NO_BARE]);
    let dns = format!(
        "{notes}network where process.name : ({programs}) and dns.question.name : ({hosts}) or\n  process.name : ({clients}) and dns.question.name : ({webdav})\n",
        hosts = below(&model.hosts),
        clients = list(&mut model.webdav_clients().into_iter().map(str::to_owned)),
        webdav = below(&model.webdav),
    );
    let process = format!(
        "{notes}process where event.type == \"start\" and (\n  process.name : ({programs}) and process.command_line : ({commands}) or\n  process.name : (\"net.exe\", \"net1.exe\", \"cmd.exe\", \"powershell.exe\", \"pwsh.exe\") and process.command_line : (\"*use*http*://*\", \"*\\\\\\\\*@ssl*\")\n)\n"
    );
    let sequence = format!(
        "{}// The endpoint form of two directions: the service, a child, the service again, by one process.\nsequence by host.id with maxspan=3m\n  [network where process.name : ({programs}) and dns.question.name : ({hosts})] by process.entity_id\n  [process where event.type == \"start\" and process.name != \"conhost.exe\"] by process.parent.entity_id\n  [network where dns.question.name : ({hosts})] by process.entity_id\n",
        head("//", &[]),
        hosts = below(&model.hosts),
    );
    Ok(vec![("web_service_dns.eql".to_owned(), dns), ("web_service_process.eql".to_owned(), process), ("poll_execute_report.eql".to_owned(), sequence)])
}

pub fn esql(pack: &Pack) -> Written {
    let model = Model::of(pack)?;
    let text = format!(
        r#"{notes}FROM logs-endpoint.events.*, logs-windows.sysmon_operational-*, winlogbeat-*
| WHERE event.category IN ("network", "process")
| EVAL program = TO_LOWER(process.name), query = TO_LOWER(dns.question.name), command = TO_LOWER(process.command_line)
| EVAL reason = CASE(
    program RLIKE """({engine}|{unix})""" AND query RLIKE """(.*\.)?({hosts})""", "resolves a web service",
    program RLIKE """{client}""" AND query RLIKE """(.*\.)?({webdav})""", "resolves a WebDAV host",
    program RLIKE """({engine}|{unix})""" AND command RLIKE """.*(://|\\\\)([a-z0-9_-]+\.)*({hosts})([^a-z0-9.-].*)?""", "names a web service on its command line")
| WHERE reason IS NOT NULL
| STATS events = COUNT(*), first_seen = MIN(@timestamp), last_seen = MAX(@timestamp), reasons = VALUES(reason), hosts = VALUES(query), command_lines = VALUES(process.command_line) BY host.name, user.name, process.executable, process.pid
| SORT last_seen DESC
"#,
        notes = head("//", &[NO_SCORE, NO_BARE]),
        engine = model.engine_pattern(),
        unix = model.unix_pattern(),
        client = model.webdav_client_pattern(),
        hosts = alternatives(&model.hosts),
        webdav = alternatives(&model.webdav),
    );
    Ok(vec![("web_service.esql".to_owned(), text)])
}
