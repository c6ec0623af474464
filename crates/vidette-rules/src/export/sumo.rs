//! Sumo Logic, over Sysmon's events as XML. See "Search Query Language" of Sumo Logic.

use super::Written;
use super::model::{Model, NO_BARE, NO_SCORE, head};
use crate::pack::Pack;

pub fn write(pack: &Pack) -> Written {
    let model = Model::of(pack)?;
    let slashes = |pattern: String| pattern.replace('/', r"\/");
    let text = format!(
        r#"{notes}_sourceCategory=*sysmon* ("<EventID>22</EventID>" OR "<EventID>1</EventID>")
| parse regex "<EventID>(?<event_id>\d+)</EventID>"
| parse regex "<Computer>(?<computer>[^<]+)"
| parse regex "<Data Name='Image'>(?<image>[^<]+)"
| parse regex "<Data Name='User'>(?<user>[^<]+)" nodrop
| parse regex "<Data Name='QueryName'>(?<query>[^<]*)" nodrop
| parse regex "<Data Name='CommandLine'>(?<command>[^<]*)" nodrop
| toLowerCase(image) as image | toLowerCase(query) as query | toLowerCase(command) as command
| where (event_id = "22" and image matches /{engine}/ and query matches /{host}/)
    or (event_id = "22" and image matches /{client}/ and query matches /{webdav}/)
    or (event_id = "1" and image matches /{engine}/ and command matches /{command}/)
    or (event_id = "1" and command matches /\buse\b.*https?:\/\/|\\\\[a-z0-9.-]+@ssl/)
| count as events, min(_messagetime) as first_time, max(_messagetime) as last_time, values(query) as hosts, values(command) as commands by computer, user, image
"#,
        notes = head("//", &[NO_SCORE, NO_BARE]),
        engine = slashes(format!(r"[\\/]{}$", model.engine_pattern())),
        client = slashes(format!(r"[\\/]{}$", model.webdav_client_pattern())),
        host = slashes(model.host_pattern()),
        webdav = slashes(model.webdav_pattern()),
        command = slashes(model.command_pattern()),
    );
    Ok(vec![("web_service.sumo".to_owned(), text)])
}
