//! Google SecOps: YARA-L 2.0 over the Unified Data Model. See "YARA-L 2.0 language syntax" of Google.

use super::Written;
use super::model::{Model, NO_BARE, NO_SCORE, head};
use crate::pack::Pack;

pub fn write(pack: &Pack) -> Written {
    let model = Model::of(pack)?;
    let engine = format!(r"(?i)(^|[\\/])({}|{})$", model.engine_pattern(), model.unix_pattern());
    let client = format!(r"(?i)(^|[\\/]){}$", model.webdav_client_pattern());
    let host = format!("(?i){}", model.host_pattern());
    let webdav = format!("(?i){}", model.webdav_pattern());
    let command = format!("(?i){}", model.command_pattern());
    let rule = |name: &str, description: &str, events: &str| {
        let text = format!(
            "{notes}rule {name} {{\n  meta:\n    author = \"Vidette\"\n    description = \"{description}\"\n    mitre_attack_tactic = \"Command and Control\"\n    mitre_attack_technique = \"T1102.002\"\n    severity = \"MEDIUM\"\n\n  events:\n{events}    $host = $e.principal.hostname\n\n  match:\n    $host over 10m\n\n  outcome:\n    $risk_score = 60\n    $programs = array_distinct($e.principal.process.file.full_path)\n    $command_lines = array_distinct($e.principal.process.command_line)\n\n  condition:\n    $e\n}}\n",
            notes = head("//", &[NO_SCORE, NO_BARE])
        );
        (format!("{name}.yaral"), text)
    };
    let dns = format!(
        "    $e.metadata.event_type = \"NETWORK_DNS\"\n    (\n      re.regex($e.principal.process.file.full_path, `{engine}`) and re.regex($e.network.dns.questions.name, `{host}`)\n      or\n      re.regex($e.principal.process.file.full_path, `{client}`) and re.regex($e.network.dns.questions.name, `{webdav}`)\n    )\n"
    );
    let network = format!(
        "    $e.metadata.event_type = \"NETWORK_CONNECTION\" or $e.metadata.event_type = \"NETWORK_HTTP\"\n    (\n      re.regex($e.principal.process.file.full_path, `{engine}`) and re.regex($e.target.hostname, `{host}`)\n      or\n      re.regex($e.principal.process.file.full_path, `{client}`) and re.regex($e.target.hostname, `{webdav}`)\n    )\n"
    );
    let process = format!(
        "    $e.metadata.event_type = \"PROCESS_LAUNCH\"\n    (\n      re.regex($e.target.process.file.full_path, `{engine}`) and re.regex($e.target.process.command_line, `{command}`)\n      or\n      re.regex($e.target.process.command_line, `(?i)\\buse\\b.*https?://|\\\\\\\\[a-z0-9.-]+@ssl`)\n    )\n"
    );
    Ok(vec![
        rule("web_service_dns", "A script engine or WebDAV client resolves a web service", &dns),
        rule("web_service_network", "A script engine or WebDAV client connects to a web service", &network),
        rule("web_service_process", "A script engine is started with the address of a web service, or a WebDAV drive is mapped", &process),
    ])
}
