//! `vidette simulate`: the telemetry that an attack would leave, in the noise of ordinary days.

use crate::commands::Failure;
use crate::output;
use crate::packs::packs;
use crate::simulated::{BACKGROUND, Background, Simulation, Written};
use crate::workspace::{self, Wanted};
use serde_json::json;
use std::path::{Path, PathBuf};
use vidette_engine::Clock;
use vidette_kql::time::parse_datetime;
use vidette_rules::Pack;
use vidette_simulation::{Library, Profile, Scenario};
use vidette_telemetry::Keep;

#[derive(clap::Args, Debug)]
pub struct Options {
    /// The pack: its name, or a folder
    #[arg(default_value = "T1102.002")]
    pub pack: String,
    /// The scenarios: a number (1 is test-1), a name, `all` or `none`; the numbered ones unless told
    #[arg(long)]
    pub test: Vec<String>,
    /// Show the scenarios, write nothing
    #[arg(long)]
    pub list: bool,
    /// How much the machines log: full, nameless-network, no-dns or process-only
    #[arg(long, default_value = "full")]
    pub profile: String,
    /// EVTX logs, JSON lines as evtx_dump writes them, or an export of Defender's tables
    #[arg(long, value_enum, default_value = "evtx")]
    pub format: LogFormat,
    /// The folder to write to
    #[arg(long, required_unless_present = "list")]
    pub out: Option<PathBuf>,
    /// Hours of ordinary work around the scenarios
    #[arg(long, default_value_t = 0, value_name = "HOURS")]
    pub benign: i64,
    /// Machines on which nothing but ordinary work goes on
    #[arg(long, default_value_t = 0)]
    pub hosts: usize,
    /// The same seed gives the same telemetry
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// When it begins
    #[arg(long, default_value = "2026-03-10T08:00:00Z")]
    pub start: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum LogFormat {
    Evtx,
    Jsonl,
    Defender,
}

pub async fn run(options: &Options) -> Result<u8, Failure> {
    let pack = find_pack(&options.pack)?;
    let library = scenarios(&pack)?;
    let chosen = choose(&library, &options.test)?;
    let Some(out) = options.out.as_deref().filter(|_| !options.list) else {
        let columns = ["Name", "Technique", "Platform", "What happens"].map(str::to_owned);
        let rows: Vec<Vec<String>> =
            library.scenarios.iter().map(|one| vec![one.name.clone(), one.technique.clone().unwrap_or_default(), format!("{:?}", one.platform), one.title.clone()]).collect();
        output::write(&output::table(&columns, &rows, output::width(), |_, _| None), None)?;
        return Ok(0);
    };
    let profile = Profile::from_name(&options.profile)
        .ok_or_else(|| Failure::usage(format!("--profile: `{}` is none of {}", options.profile, Profile::ALL.map(Profile::name).join(", "))))?;
    let start_ticks = parse_datetime(&options.start).ok_or_else(|| Failure::usage(format!("--start: `{}` is not a time such as 2026-03-10T08:00:00Z", options.start)))?;
    let ordinary = vidette_simulation::parse(BACKGROUND).map_err(|wrong| Failure::usage(wrong.to_string()))?.background;
    let background = Background { activities: &ordinary, hours: options.benign.max(0), hosts: options.hosts, seed: options.seed };
    let scratch = tempfile::tempdir().map_err(|error| Failure::usage(error.to_string()))?;
    let defender = options.format == LogFormat::Defender;
    let target = if defender { scratch.path() } else { out };
    let simulation = Simulation { scenarios: chosen, profile, evtx: options.format == LogFormat::Evtx, out: target, start_ticks, background };
    let mut written = simulation.write()?;
    if defender {
        written.files = export(scratch.path(), out).await?;
    }
    summarize(&written, out);
    Ok(0)
}

fn summarize(written: &Written, out: &Path) {
    for reason in &written.left_out {
        say!("left out: {reason}");
    }
    say!("{} events in {} files under {}", written.events, written.files, out.display());
}

/// A pack in the binary, or a folder.
fn find_pack(name: &str) -> Result<Pack, Failure> {
    if let Some(pack) = vidette_rules::embedded().iter().find(|pack| pack.name.eq_ignore_ascii_case(name)) {
        return Ok(pack.clone());
    }
    let folder = PathBuf::from(name);
    if !folder.exists() {
        let known: Vec<&str> = vidette_rules::embedded().iter().map(|pack| pack.name.as_str()).collect();
        return Err(Failure::usage(format!("no pack `{name}`: it is {}, or a folder", known.join(", "))));
    }
    Ok(packs(&[folder])?.remove(0))
}

/// All scenarios of the pack.
pub fn scenarios(pack: &Pack) -> Result<Library, Failure> {
    let mut library = Library::default();
    for (file, text) in &pack.scenarios {
        let more = vidette_simulation::parse(text).map_err(|wrong| Failure::usage(format!("{file}: {wrong}")))?;
        library.scenarios.extend(more.scenarios);
        library.background.extend(more.background);
    }
    Ok(library)
}

fn choose<'a>(library: &'a Library, asked: &[String]) -> Result<Vec<&'a Scenario>, Failure> {
    if asked.is_empty() {
        return Ok(library.scenarios.iter().filter(|scenario| scenario.name.starts_with("test-")).collect());
    }
    let mut chosen = Vec::new();
    for name in asked {
        match name.as_str() {
            "all" => chosen.extend(&library.scenarios),
            "none" => {}
            name => {
                let numbered = format!("test-{name}");
                let found = library.scenarios.iter().find(|scenario| scenario.name == name || scenario.name == numbered);
                chosen.push(found.ok_or_else(|| Failure::usage(format!("no scenario `{name}`; --list shows them")))?);
            }
        }
    }
    Ok(chosen)
}

/// The telemetry as rows of Defender's tables, a file each, in the shape of the streaming API. Gives the number of files.
async fn export(from: &Path, to: &Path) -> Result<usize, Failure> {
    let broken = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
    let loaded = workspace::load(workspace::empty(), &[from.to_owned()], &Wanted::All, Keep::default(), None).await?;
    std::fs::create_dir_all(to).map_err(|error| broken(&error))?;
    let mut files = 0;
    for table in loaded.with_rows.iter().filter(|table| table.starts_with("Device")) {
        let result = loaded.workspace.query(&format!("{table} | sort by Timestamp asc, ReportId asc"), Clock::now()).await.map_err(|error| broken(&error))?;
        let rows = &result.tables[0];
        let names: Vec<&String> = rows.columns.iter().map(|(name, _)| name).collect();
        let mut text = String::new();
        for row in rows.rows() {
            let properties: serde_json::Map<String, serde_json::Value> =
                names.iter().map(|name| (*name).clone()).zip(row).filter(|(_, value)| !value.is_null() && value != "").collect();
            let line = json!({"time": properties.get("Timestamp"), "operationName": "Publish", "category": format!("AdvancedHunting-{table}"), "properties": properties});
            text.push_str(&format!("{line}\n"));
        }
        output::write(&text, Some(&to.join(format!("{table}.jsonl"))))?;
        files += 1;
    }
    Ok(files)
}
