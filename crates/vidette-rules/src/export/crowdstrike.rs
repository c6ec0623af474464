//! CrowdStrike LogScale, over Falcon's events. See "CrowdStrike Query Language" of CrowdStrike.

use super::Written;
use super::model::{Model, NO_BARE, NO_SCORE, head};
use crate::pack::Pack;

pub fn write(pack: &Pack) -> Written {
    let model = Model::of(pack)?;
    let notes = head("//", &[NO_SCORE, NO_BARE, "connections by name: Falcon's NetworkConnectIP4 has addresses only, the names are in DnsRequest."]);
    let slashes = |pattern: String| pattern.replace('/', r"\/");
    let programs = format!("({}|{})", model.engine_pattern(), model.unix_pattern());
    let dns = format!(
        "{notes}#event_simpleName=DnsRequest\n| case {{\n    ContextBaseFileName=/^{programs}$/i DomainName=/{host}/i | Reason:=\"resolves a web service\";\n    ContextBaseFileName=/^{client}$/i DomainName=/{webdav}/i | Reason:=\"resolves a WebDAV host\";\n  }}\n| groupBy([aid, ComputerName, ContextBaseFileName, ContextProcessId], function=[count(as=Events), min(@timestamp, as=FirstSeen), max(@timestamp, as=LastSeen), collect([DomainName, Reason])])\n",
        host = model.host_pattern(),
        client = model.webdav_client_pattern(),
        webdav = model.webdav_pattern(),
    );
    let process = format!(
        "{notes}#event_simpleName=/^(ProcessRollup2|SyntheticProcessRollup2)$/\n| case {{\n    FileName=/^{programs}$/i CommandLine=/{command}/i | Reason:=\"names a web service on its command line\";\n    CommandLine=/\\buse\\b.*https?:\\/\\/|\\\\\\\\[a-z0-9.-]+@ssl/i | Reason:=\"maps a WebDAV drive\";\n  }}\n| groupBy([aid, ComputerName, UserName, FileName, TargetProcessId], function=[count(as=Events), min(@timestamp, as=FirstSeen), collect([CommandLine, ParentBaseFileName, Reason])])\n",
        command = slashes(model.command_pattern()),
    );
    Ok(vec![("web_service_dns.logscale".to_owned(), dns), ("web_service_process.logscale".to_owned(), process)])
}
