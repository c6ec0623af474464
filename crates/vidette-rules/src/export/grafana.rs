//! Grafana Loki: LogQL over Sysmon's events as Promtail and Alloy ship them: JSON with the event's data as XML in `event_data`.
//! See "LogQL: Log query language" of Grafana.

use super::Written;
use super::model::{Model, NO_BARE, NO_SCORE, alternatives, head};
use crate::pack::Pack;

pub fn write(pack: &Pack) -> Written {
    let model = Model::of(pack)?;
    let notes = head("#", &[NO_SCORE, NO_BARE]);
    let stream = r#"{job=~".*windows.*"} | json | channel="Microsoft-Windows-Sysmon/Operational""#;
    let data = |name: &str, pattern: &str| format!("| event_data=~`(?is).*<Data Name='{name}'>{pattern}</Data>.*`");
    let image = |pattern: &str| data("Image", &format!(r"[^<]*[\\/]{pattern}"));
    let dns = format!("{notes}{stream} | event_id=\"22\" {} {}\n", image(&model.engine_pattern()), data("QueryName", &format!(r"([^<]*\.)?({})", alternatives(&model.hosts))));
    let webdav =
        format!("{notes}{stream} | event_id=\"22\" {} {}\n", image(&model.webdav_client_pattern()), data("QueryName", &format!(r"([^<]*\.)?({})", alternatives(&model.webdav))));
    let process = format!(
        "{notes}{stream} | event_id=\"1\" {} {}\n",
        image(&model.engine_pattern()),
        data("CommandLine", &format!(r"[^<]*(://|\\\\)([a-z0-9_-]+\.)*({})(&amp;|[^a-z0-9.<-][^<]*)?", alternatives(&model.hosts)))
    );
    Ok(vec![("web_service_dns.logql".to_owned(), dns), ("web_service_webdav.logql".to_owned(), webdav), ("web_service_process.logql".to_owned(), process)])
}
