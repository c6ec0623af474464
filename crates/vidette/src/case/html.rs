//! A case as one page that needs nothing else: no script, no font, no address.

use super::{Case, Moment, Section};
use crate::output::one_line;

const STYLE: &str = "
:root { --ink: #1c2430; --soft: #5d6b7e; --line: #d9e0e8; --paper: #ffffff; --panel: #f5f7fa; --accent: #b3261e; --cool: #2f6fab; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ef; --soft: #9aa7b8; --line: #364152; --paper: #151b24; --panel: #1d2531; --accent: #ff8a80; --cool: #7fb5e6; } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1120px; padding: 32px 24px 80px; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 24px; line-height: 1.25; margin: 8px 0 4px }
h2 { font-size: 17px; margin: 36px 0 4px }
p { margin: 4px 0 12px; color: var(--soft) }
.badge { display: inline-block; padding: 2px 10px; border-radius: 12px; font-weight: 600; color: #fff }
.High { background: #b3261e } .Medium { background: #a86200 } .Low { background: #2f6fab } .Informational { background: #5d6b7e }
dl { display: grid; grid-template-columns: 130px 1fr; gap: 4px 12px; background: var(--panel); padding: 14px 16px; border-radius: 8px }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
code, td, pre { font: 13px/1.45 ui-monospace, monospace }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: 6px 10px; border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
th { background: var(--panel); font-weight: 600; white-space: nowrap }
tr:last-child td { border-bottom: 0 } tr.own td { font-weight: 600 }
details { margin-top: 6px } summary { cursor: pointer; color: var(--soft); font-size: 13px }
pre { background: var(--panel); padding: 12px; border-radius: 8px; overflow-x: auto }
svg { display: block; max-width: 100% } svg text { fill: var(--ink); font: 13px system-ui, sans-serif } svg .soft { fill: var(--soft); font-size: 12px }
svg .stem { stroke: var(--line); fill: none; stroke-width: 1.5 } svg .node { fill: var(--panel); stroke: var(--line) } svg .own { stroke: var(--accent); stroke-width: 2 }
svg .dot { fill: var(--cool); opacity: .55 } svg .dot.own { fill: var(--accent); opacity: .9; stroke: none }
@media print { body { max-width: none } details { display: none } }
";

pub fn page(case: &Case) -> String {
    let alert = &case.alert;
    let subject = &case.subject;
    let mut facts = vec![
        ("Device", subject.device.clone()),
        ("Account", subject.account.clone()),
        ("Process", format!("{}{}", subject.file_name, subject.process_id.map(|id| format!(" ({id})")).unwrap_or_default())),
        ("Started", subject.started.clone()),
        ("Command line", subject.command_line.clone()),
        ("SHA1", subject.sha1.clone()),
        ("First, last", format!("{} to {}", subject.first, subject.last)),
        ("Rule", alert.rule_name.clone()),
        ("Technique", alert.techniques.join(", ")),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    let facts: String = facts.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(value))).collect();
    let sections: String = case.sections.iter().map(section).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<span class=\"badge {severity}\">{severity}</span>\n<h1>{title}</h1>\n<p>{description}</p>\n<dl>{facts}</dl>\n<h2>Process tree</h2>\n{tree}\n<h2>Timeline</h2>\n{picture}\n{sections}\n<h2>Every event of the timeline</h2>\n{events}\n</body>\n</html>\n",
        title = escape(&alert.title),
        severity = alert.severity.name(),
        description = escape(&alert.description),
        tree = tree(case),
        picture = timeline(&case.timeline),
        events = events(&case.timeline),
    )
}

fn section(section: &Section) -> String {
    let found = match (&section.error, section.rows.is_empty()) {
        (Some(error), _) => format!("<p>Could not be asked: {}</p>", escape(error)),
        (None, true) => "<p><em>Nothing.</em></p>".to_owned(),
        (None, false) => {
            let head: String = section.columns.iter().map(|name| format!("<th>{}</th>", escape(name))).collect();
            let rows: String = section.rows.iter().map(|row| format!("<tr>{}</tr>\n", row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect::<String>())).collect();
            format!("<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>")
        }
    };
    format!(
        "<h2>{}</h2>\n<p>{}</p>\n{found}\n<details><summary>the query</summary><pre>{}</pre></details>\n",
        escape(&section.title),
        escape(&section.text),
        escape(&section.query)
    )
}

fn events(moments: &[Moment]) -> String {
    let row = |moment: &Moment| {
        let class = if moment.of_subject { " class=\"own\"" } else { "" };
        format!("<tr{class}><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", escape(&moment.time), escape(&moment.what), escape(&moment.who), escape(&moment.detail))
    };
    let rows: String = moments.iter().map(row).collect();
    format!(
        "<details><summary>{} events; those of the alert's process and of those below it in bold</summary><div class=\"scroll\"><table><tbody>\n{rows}</tbody></table></div></details>",
        moments.len()
    )
}

/// A box for each process, one below the other, each to the right of its parent.
fn tree(case: &Case) -> String {
    const ROW: usize = 50;
    const STEP: usize = 28;
    const WIDTH: usize = 1070;
    let mut out = String::new();
    let mut last_at: Vec<usize> = Vec::new();
    for (at, node) in case.tree.iter().enumerate() {
        let (x, y) = (node.depth * STEP, at * ROW);
        last_at.truncate(node.depth);
        if let Some(parent) = node.depth.checked_sub(1).and_then(|depth| last_at.get(depth)) {
            let stem = (node.depth - 1) * STEP + 12;
            out += &format!("<path class=\"stem\" d=\"M{stem} {} V{} H{x}\"/>", parent * ROW + 42, y + 21);
        }
        last_at.push(at);
        let class = if node.is_subject { "node own" } else { "node" };
        let id = node.process_id.map(|id| format!(" ({id})")).unwrap_or_default();
        let account = if node.account.is_empty() { String::new() } else { format!("  {}", node.account) };
        let room = (WIDTH - x) / 7;
        out += &format!(
            "<g><title>{}</title><rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"42\" rx=\"6\"/><text x=\"{tx}\" y=\"{}\">{}</text><text class=\"soft\" x=\"{tx}\" y=\"{}\">{}</text></g>\n",
            escape(&format!("{} {}", node.time, node.command_line)),
            WIDTH - x,
            y + 17,
            escape(&format!("{}{id}{account}", node.file_name)),
            y + 34,
            escape(&one_line(&node.command_line, room)),
            tx = x + 12,
        );
    }
    let height = case.tree.len() * ROW;
    format!("<svg viewBox=\"-2 -2 {} {height}\" role=\"img\" aria-label=\"process tree\">\n{out}</svg>", WIDTH + 4)
}

/// A lane for each kind of event, a dot for each event.
fn timeline(moments: &[Moment]) -> String {
    const LEFT: f64 = 90.0;
    const WIDTH: f64 = 1070.0;
    const LANE: f64 = 30.0;
    const TICKS_PER_SECOND: f64 = 10_000_000.0;
    let (Some(first), Some(last)) = (moments.iter().map(|moment| moment.ticks).min(), moments.iter().map(|moment| moment.ticks).max()) else {
        return "<p><em>Nothing.</em></p>".to_owned();
    };
    let mut lanes: Vec<&str> = Vec::new();
    for moment in moments {
        if !lanes.contains(&moment.what.as_str()) {
            lanes.push(&moment.what);
        }
    }
    let span = ((last - first) as f64).max(TICKS_PER_SECOND);
    let x = |ticks: i64| LEFT + 10.0 + (ticks - first) as f64 / span * (WIDTH - LEFT - 30.0);
    let mut out = String::new();
    for (at, lane) in lanes.iter().enumerate() {
        let y = at as f64 * LANE + 20.0;
        out += &format!("<text class=\"soft\" x=\"0\" y=\"{:.0}\">{}</text><path class=\"stem\" d=\"M{LEFT} {y:.0} H{WIDTH}\"/>\n", y + 4.0, escape(lane));
    }
    // Dots of the alert's process lie above the others.
    let mut ordered: Vec<&Moment> = moments.iter().collect();
    ordered.sort_by_key(|moment| moment.of_subject);
    for moment in ordered {
        let lane = lanes.iter().position(|lane| *lane == moment.what).unwrap_or_default();
        let class = if moment.of_subject { "dot own" } else { "dot" };
        let title = format!("{} {} {}", moment.time, moment.who, moment.detail);
        out += &format!(
            "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.0}\" r=\"{}\"><title>{}</title></circle>\n",
            x(moment.ticks),
            lane as f64 * LANE + 20.0,
            if moment.of_subject { 5 } else { 4 },
            escape(&one_line(&title, 300))
        );
    }
    let bottom = lanes.len() as f64 * LANE + 14.0;
    for mark in 0..=5 {
        let ticks = first + (span * f64::from(mark) / 5.0) as i64;
        let label = vidette_kql::time::format_datetime(ticks);
        let anchor = if mark == 5 {
            "end"
        } else if mark == 0 {
            "start"
        } else {
            "middle"
        };
        out += &format!(
            "<path class=\"stem\" d=\"M{0:.1} 6 V{bottom:.0}\" stroke-dasharray=\"2 4\"/><text class=\"soft\" text-anchor=\"{anchor}\" x=\"{0:.1}\" y=\"{1:.0}\">{2}</text>\n",
            x(ticks),
            bottom + 16.0,
            label.get(11..19).unwrap_or(&label)
        );
    }
    format!(
        "<svg viewBox=\"-2 0 {} {:.0}\" role=\"img\" aria-label=\"timeline\">\n{out}</svg>\n<p>{} to {} UTC; the alert's process and those below it in the stronger color.</p>",
        WIDTH + 4.0,
        bottom + 24.0,
        vidette_kql::time::format_datetime(first),
        vidette_kql::time::format_datetime(last)
    )
}

/// Text as HTML. What a log holds is never markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Node, Subject};
    use vidette_rules::{Alert, SeverityLevel};

    #[test]
    fn what_a_log_holds_is_not_markup() {
        let evil = "<script>alert(1)</script>\"&";
        let alert = Alert {
            time: "2026-01-01T00:00:00Z".to_owned(),
            rule_id: String::new(),
            rule_name: evil.to_owned(),
            title: evil.to_owned(),
            description: evil.to_owned(),
            severity: SeverityLevel::High,
            tactics: Vec::new(),
            techniques: Vec::new(),
            entities: Vec::new(),
            custom_details: serde_json::Map::new(),
            rows: Vec::new(),
        };
        let node =
            Node { depth: 0, process_id: Some(1), file_name: evil.to_owned(), command_line: evil.to_owned(), account: evil.to_owned(), time: evil.to_owned(), is_subject: true };
        let moment = Moment { ticks: 1, time: evil.to_owned(), what: evil.to_owned(), who: evil.to_owned(), detail: evil.to_owned(), of_subject: true };
        let section =
            Section { title: evil.to_owned(), text: evil.to_owned(), query: evil.to_owned(), columns: vec![evil.to_owned()], rows: vec![vec![evil.to_owned()]], error: None };
        let case = Case { alert, subject: Subject { command_line: evil.to_owned(), ..Subject::default() }, tree: vec![node], sections: vec![section], timeline: vec![moment] };
        let page = page(&case);
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&amp;"));
    }
}
