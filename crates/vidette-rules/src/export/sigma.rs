//! Sigma. See the Sigma specification: rules, and correlation rules.

use super::Written;
use super::model::{Model, NO_BARE, NO_SCORE, head};
use crate::pack::Pack;

pub fn write(pack: &Pack) -> Written {
    let model = Model::of(pack)?;
    let images: Vec<String> = model.engines.iter().map(|name| format!(r"\{name}")).collect();
    let exact = &model.hosts;
    let below: Vec<String> = model.hosts.iter().map(|host| format!(".{host}")).collect();
    let in_urls: Vec<String> = model.hosts.iter().flat_map(|host| [format!("//{host}"), format!(r"\\\\{host}"), format!(".{host}/")]).collect();
    let programs = format!("  selection_program:\n    - Image|endswith:\n{}    - Image|re: '(?i)\\\\(python|pypy|ruby|perl|php|node|lua)[0-9.\\-]*w?\\.exe$'\n", list(&images, 8));
    let webdav = |field: &str| {
        format!(
            "  selection_webdav_client:\n    Image|endswith:\n{}  selection_webdav_host:\n    {field}:\n{}",
            list(&model.webdav_clients().map(|name| format!(r"\{name}")), 6),
            list(&model.webdav, 6)
        )
    };
    let by_name = |field: &str| {
        format!(
            "{programs}  selection_host:\n    - {field}:\n{}    - {field}|endswith:\n{}{}  condition: selection_program and selection_host or all of selection_webdav_*\n",
            list(exact, 8),
            list(&below, 8),
            webdav(field)
        )
    };
    let by_command = format!(
        "{programs}  selection_host:\n    CommandLine|contains:\n{}  selection_drive:\n    Image|endswith: ['\\net.exe', '\\net1.exe', '\\cmd.exe', '\\powershell.exe', '\\pwsh.exe']\n    CommandLine|re: '(?i)\\buse\\b.*https?://|\\\\\\\\[a-z0-9.-]+@ssl'\n  condition: selection_program and selection_host or selection_drive\n",
        list(&in_urls, 6)
    );
    let rule = |name: &str, title: &str, id: &str, category: &str, description: &str, detection: &str| {
        let text = format!(
            "{}title: {title}\nid: {id}\nname: {name}\nstatus: test\ndescription: {description}\nreferences:\n  - https://attack.mitre.org/techniques/T1102/002/\nauthor: Vidette\ndate: 2026-11-25\ntags:\n  - attack.command-and-control\n  - attack.t1102.002\nlogsource:\n  product: windows\n  category: {category}\ndetection:\n{}falsepositives:\n  - Administration scripts that call these services\nlevel: medium\n",
            head("#", &[NO_SCORE, NO_BARE]),
            detection
        );
        (format!("{name}.yml"), text)
    };
    let correlation = format!(
        "{}title: A Program Names a Web Service on Its Command Line and Resolves One\nid: 6c0de4a8-1102-4002-9c00-000000000004\nstatus: test\ndescription: The same program on the same machine within ten minutes, by two sources of events\nreferences:\n  - https://attack.mitre.org/techniques/T1102/002/\nauthor: Vidette\ndate: 2026-11-25\ntags:\n  - attack.command-and-control\n  - attack.t1102.002\ncorrelation:\n  type: temporal\n  generate: true\n  rules:\n    - web_service_dns\n    - web_service_process\n  group-by:\n    - Computer\n    - Image\n  timespan: 10m\nlevel: high\n",
        head("#", &[])
    );
    Ok(vec![
        rule(
            "web_service_network",
            "Connection of a Script Engine to a Web Service",
            "6c0de4a8-1102-4002-9c00-000000000001",
            "network_connection",
            "Sysmon writes reverse names into DestinationHostname, or none; the rule is for sensors that write the name asked for",
            &by_name("DestinationHostname"),
        ),
        rule(
            "web_service_dns",
            "DNS Query of a Script Engine for a Web Service",
            "6c0de4a8-1102-4002-9c00-000000000002",
            "dns_query",
            "A script engine, LOLBin or WebDAV client asks for a host of a web service usable for command and control",
            &by_name("QueryName"),
        ),
        rule(
            "web_service_process",
            "Web Service on the Command Line of a Script Engine",
            "6c0de4a8-1102-4002-9c00-000000000003",
            "process_creation",
            "A script engine or LOLBin is started with the address of a web service usable for command and control, or a drive is mapped over WebDAV",
            &by_command,
        ),
        ("web_service_correlation.yml".to_owned(), correlation),
    ])
}

fn list<S: AsRef<str>>(values: &[S], indent: usize) -> String {
    values.iter().map(|value| format!("{}- '{}'\n", " ".repeat(indent), value.as_ref())).collect()
}
